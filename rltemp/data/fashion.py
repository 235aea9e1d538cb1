"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rltemp.data.dataset import Dataset
from rltemp.data.idx import read_idx
from rltemp.errors import InputError

__all__ = ["load_fashion"]

_PREFIX = {"train": "train", "test": "t10k"}


def load_fashion(root: str | Path, part: Literal["train", "test"]) -> Dataset:
    """60,000 training or 10,000 test images of 10 kinds of clothes, uint8 [N, 1, 28, 28].

    Args:
        root: the folder that `torchvision.datasets.FashionMNIST` takes: `FashionMNIST/raw/*` in it, packed or not.
        part: which images.

    Raises:
        InputError: for files that are missing, damaged, of another format, or do not belong together.
    """
    folder = Path(root) / "FashionMNIST" / "raw"
    images = read_idx(folder / f"{_PREFIX[part]}-images-idx3-ubyte")
    targets = read_idx(folder / f"{_PREFIX[part]}-labels-idx1-ubyte").long()
    fits = images.shape[1:] == (28, 28) and targets.shape == images.shape[:1]
    if not fits or int(targets.max()) > 9:
        raise InputError(
            f"root must hold images of 28 x 28 px with a label from 0 to 9 each, the {part} files of {folder} have "
            f"shapes {list(images.shape)} and {list(targets.shape)} and labels up to {int(targets.max())}"
        )
    return Dataset(images.unsqueeze(1), targets, 10)
