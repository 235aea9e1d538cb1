"""The bundled data set: handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from rltemp.data.dataset import Dataset

__all__ = ["load_digit_pairs", "load_digits"]

_FIRST = 1300
"""Digits of which the training pairs consist; the other 497 are those of the test pairs."""


def load_digits() -> Dataset:
    """1,797 gray images of 8 x 8 px in 10 classes; images [1797, 1, 8, 8] float32 in [0, 1].

    The test part of the UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), whose pixels count
    ink in 17 levels, 0 to 16. Nothing is downloaded.
    """
    from sklearn import datasets  # takes a second to import, and only the digits need it

    images, targets = datasets.load_digits(return_X_y=True)
    pixels = torch.from_numpy(np.asarray(images, dtype=np.float32)).view(-1, 1, 8, 8) / 16.0
    return Dataset(pixels, torch.from_numpy(np.asarray(targets, dtype=np.int64)), classes=10)


def load_digit_pairs(
    generator: np.random.RandomState | None = None, *, train: int = 8000, test: int = 2000
) -> tuple[Dataset, Dataset]:
    """Training and test pairs of digits side by side, [N, 1, 8, 16] float32 in [0, 1], in 100 classes: 00 to 99.

    No digit of a training pair is one of a test pair. Digits are drawn independently, so that what tells one class
    from another is known from `load_digits`, and there are ten times as many classes.

    Args:
        generator: draws the pairs. It is of NumPy's frozen kind, whose stream never changes.
        train: number of training pairs.
        test: number of test pairs.
    """
    generator, digits = generator or np.random.RandomState(42), load_digits()
    first = _pairs(digits, generator.randint(_FIRST, size=(train, 2)))
    return first, _pairs(digits, generator.randint(_FIRST, len(digits), size=(test, 2)))


def _pairs(digits: Dataset, drawn: npt.NDArray[np.int64]) -> Dataset:
    rows = torch.from_numpy(drawn.astype(np.int64))
    tens, units = digits.targets[rows].unbind(1)
    return Dataset(torch.cat(digits.images[rows].unbind(1), dim=-1), 10 * tens + units, classes=100)
