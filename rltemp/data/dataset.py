"""A data set in memory, as two tensors."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rltemp.checks import check_targets
from rltemp.errors import InputError

__all__ = ["Dataset"]


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Labeled images, or windows of texts, on one device.

    Attributes:
        images: [N, ...], uint8 in [0, 255], floating point, or int64 ids of tokens.
        targets: [N] int64 class indices in [0, classes); or [N, L], the next token at each of the L positions of a
            window, each of which is an instance. Windows are full: there is no padding.
        classes: number of classes C, >= 2.

    Raises:
        InputError: for shapes, dtypes, devices, or targets that do not fit together.
    """

    images: Tensor
    targets: Tensor
    classes: int

    def __post_init__(self) -> None:
        kinds = (torch.uint8, torch.int64)
        if self.images.ndim < 2 or not (self.images.dtype in kinds or self.images.is_floating_point()):
            raise InputError(
                "images must be uint8, int64 or floating point of shape [N, ...], "
                f"got {self.images.dtype} {list(self.images.shape)}"
            )
        if self.classes < 2:
            raise InputError(f"classes must be >= 2, got {self.classes}")
        if self.targets.dtype != torch.int64:
            raise InputError(f"targets must be int64 class indices, got {self.targets.dtype}")
        if self.images.device != self.targets.device:
            raise InputError(
                f"images and targets must be on one device, got {self.images.device} and {self.targets.device}"
            )
        if len(self.images) == 0:
            raise InputError("images must hold at least one image, got 0")
        if self.targets.ndim == 2 and self.targets.shape != self.images.shape:
            raise InputError(
                f"targets must have shape [N] or, of tokens, that of images {list(self.images.shape)}, "
                f"got {list(self.targets.shape)}"
            )
        labels = self.targets if self.positions is None else self.labels
        check_targets(labels, len(self.images) * (self.positions or 1), self.classes)

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.images)

    @property
    def positions(self) -> int | None:
        """Positions L of a window, each of which is an instance; None where an image is one."""
        return self.targets.shape[1] if self.targets.ndim == 2 else None

    @property
    def labels(self) -> Tensor:
        """Class indices of all instances, [N], or [N * L], window after window."""
        return self.targets.flatten()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(self.images.shape[1:])

    @property
    def device(self) -> torch.device:
        """Device of images and targets."""
        return self.images.device

    def to(self, device: torch.device | str) -> Dataset:
        """This data set on another device."""
        return Dataset(self.images.to(device), self.targets.to(device), self.classes)

    def subset(self, indices: Tensor) -> Dataset:
        """A copy of the instances at `indices` [M], in that order."""
        indices = indices.to(self.device)
        return Dataset(self.images[indices], self.targets[indices], self.classes)
