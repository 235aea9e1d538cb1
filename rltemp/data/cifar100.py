"""CIFAR-100 (Krizhevsky, 2009), as the distillation literature trains on it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from rltemp.data.augment import Augmentation, HorizontalFlip, Normalize, Shift
from rltemp.data.dataset import Dataset
from rltemp.data.folder import load_image_folder
from rltemp.errors import InputError, first_line
from rltemp.progress import Progress

__all__ = ["CIFAR100_MEAN", "CIFAR100_STD", "cifar100_augmentation", "load_cifar100"]

CIFAR100_MEAN = (0.5071, 0.4867, 0.4408)
"""Mean of each channel of the training images, pixels in [0, 1]."""
CIFAR100_STD = (0.2675, 0.2565, 0.2761)
"""Standard deviation by which the distillation papers divide each channel, pixels in [0, 1]."""


def load_cifar100(
    root: str | Path,
    part: Literal["train", "test"],
    *,
    download: bool = False,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """50,000 training or 10,000 test images of 100 classes, uint8 [N, 3, 32, 32].

    Args:
        root: a folder with the trees train/<class>/* and test/<class>/*, of CIFAR-100 or other images; otherwise the
            folder that `torchvision.datasets.CIFAR100` takes. Both number the classes alike, but order the images
            differently.
        part: "train" or "test".
        download: let torchvision download CIFAR-100 into `root` if it is missing; unused for trees.
        cache: folder where the decoded images of a tree are kept (see `load_image_folder`).
        progress: advances with every decoded image of a tree.

    Raises:
        InputError: for another part, or if `root` holds neither form and nothing may be downloaded.
    """
    if part not in ("train", "test"):
        raise InputError(f"part must be 'train' or 'test', got {part!r}")
    tree = Path(root) / part
    if tree.is_dir():
        return load_image_folder(tree, cache=cache, progress=progress)
    from torchvision.datasets import CIFAR100  # takes a second to import, and the bundled data do not need it

    try:
        # torchvision unpickles only files with the published checksum.
        data = CIFAR100(str(root), train=part == "train", download=download)
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"root must hold {part}/<class>/* or torchvision's CIFAR-100, got {root}: {first_line(error)}"
        ) from error
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Dataset(images, torch.tensor(data.targets), classes=100)


def cifar100_augmentation(side: int = 32) -> Augmentation:
    """Random crop of the image padded by an eighth of its side, horizontal flip, normalization: uint8 to float32.

    Images are `side` x `side` px; for 32 px the padding is the usual 4. `Augmentation.clean` gives normalization alone,
    as evaluation needs it.
    """
    return Augmentation((Shift(side // 8), HorizontalFlip(), Normalize(CIFAR100_MEAN, CIFAR100_STD)))
