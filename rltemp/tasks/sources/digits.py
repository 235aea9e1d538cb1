"""The bundled digits, one by one and in pairs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rltemp.data import Dataset, load_digit_pairs, load_digits
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["DigitPairs", "Digits"]


class Digits(SourceLoader):
    """Handwritten digits that come with scikit-learn; test images are what the other parts leave over."""

    line = "1,797 handwritten digits of 8 x 8 px that come with scikit-learn"
    needs_path = False

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Divided by about the pixels' root mean square, so that inputs are of size 1."""
        return Source(_scaled(load_digits()))


class DigitPairs(SourceLoader):
    """Two of the digits side by side: a hundred classes without a download."""

    line = "8,000 + 2,000 pairs of these digits, side by side: 100 classes"
    needs_path = False

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Images float32 [1, 8, 16], divided as those of `Digits`."""
        train, test = map(_scaled, load_digit_pairs())
        return Source(train, test)


def _scaled(digits: Dataset) -> Dataset:
    return dataclasses.replace(digits, images=digits.images / 0.5)
