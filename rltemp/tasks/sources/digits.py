"""The bundled digits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rltemp.data import load_digits
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["Digits"]


class Digits(SourceLoader):
    """Handwritten digits that come with scikit-learn; test images are what the other parts leave over."""

    line = "1,797 handwritten digits of 8 x 8 px that come with scikit-learn"
    needs_path = False

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Divided by about the pixels' root mean square, so that inputs are of size 1."""
        digits = load_digits()
        return Source(dataclasses.replace(digits, images=digits.images / 0.5))
