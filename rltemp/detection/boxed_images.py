"""Images with labeled boxes, in memory."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rltemp.errors import InputError

__all__ = ["BoxedImages"]


@dataclasses.dataclass(frozen=True, eq=False)
class BoxedImages:
    """N images of one size, each with any number of labeled boxes.

    Attributes:
        images: [N, Ch, H, W] uint8.
        boxes: per image [M, 4] float32, x1, y1, x2, y2 in pixels, with x1 < x2 and y1 < y2.
        labels: per image [M] int64, from 1 to C; 0 is kept for background.
        names: of the C classes.

    Raises:
        InputError: for shapes, dtypes or labels that do not fit together.
    """

    images: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8 or not len(self.images):
            raise InputError(
                f"images must be uint8 [N, Ch, H, W] with N >= 1, got {self.images.dtype} {list(self.images.shape)}"
            )
        if not len(self.images) == len(self.boxes) == len(self.labels):
            raise InputError(
                f"boxes and labels must be of {len(self.images)} images, got {len(self.boxes)} and {len(self.labels)}"
            )
        for boxes, labels in zip(self.boxes, self.labels, strict=True):
            if boxes.shape != (len(labels), 4) or not bool((boxes[:, 2:] > boxes[:, :2]).all()):
                raise InputError("boxes must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, one per label, got others")
            if len(labels) and not 1 <= int(labels.min()) <= int(labels.max()) <= len(self.names):
                raise InputError(f"labels must lie in [1, {len(self.names)}], got {labels.tolist()}")

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        """Images in [0, 1] and targets at `indices` [I], as torchvision's detectors take them."""
        chosen = indices.tolist()
        return (
            [self.images[index].float() / 255 for index in chosen],
            [{"boxes": self.boxes[index], "labels": self.labels[index]} for index in chosen],
        )
