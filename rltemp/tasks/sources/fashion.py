"""Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path

from rltemp.data import load_fashion
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader
from rltemp.tasks.sources.standardization import standardization

__all__ = ["Fashion"]


class Fashion(SourceLoader):
    """torchvision's files of Fashion-MNIST, standardized by their own moments."""

    line = "Fashion-MNIST: torchvision's files FashionMNIST/raw/*, packed or not"

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """60,000 training and 10,000 test images uint8 [1, 28, 28]."""
        train, test = (load_fashion(settings.path or "", part) for part in ("train", "test"))
        return Source(train, test, (standardization(train.images),))
