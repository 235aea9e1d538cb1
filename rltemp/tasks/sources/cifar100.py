"""CIFAR-100."""

from __future__ import annotations

from pathlib import Path

from rltemp.data import CIFAR100_MEAN, CIFAR100_STD, Normalize, load_cifar100
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["Cifar100"]


class Cifar100(SourceLoader):
    """torchvision's files, or a tree of images; normalized by the moments that papers use."""

    line = "CIFAR-100: torchvision's files, or a tree train/<class>/*, test/<class>/*"
    downloads = "CIFAR-100"

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """50,000 training and 10,000 test images uint8 [3, 32, 32]."""
        root = Path(settings.path or "")
        train = load_cifar100(root, "train", download=settings.download, cache=cache)
        test = load_cifar100(root, "test", download=settings.download, cache=cache)
        return Source(train, test, (Normalize(CIFAR100_MEAN, CIFAR100_STD),))
