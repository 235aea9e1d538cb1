"""The bundled data set: handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

from rltemp.data.dataset import Dataset

__all__ = ["load_digits"]


def load_digits() -> Dataset:
    """1,797 gray images of 8 x 8 px in 10 classes; images [1797, 1, 8, 8] float32 in [0, 1].

    The test part of the UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), whose pixels count
    ink in 17 levels, 0 to 16. Nothing is downloaded.
    """
    from sklearn import datasets  # takes a second to import, and only the digits need it

    images, targets = datasets.load_digits(return_X_y=True)
    pixels = torch.from_numpy(np.asarray(images, dtype=np.float32)).view(-1, 1, 8, 8) / 16.0
    return Dataset(pixels, torch.from_numpy(np.asarray(targets, dtype=np.int64)), classes=10)
