"""Training images that do not fit into memory, and are decoded when they are needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rltemp.data import Augmentation, FolderBatch, FolderLoader, ImageFiles
from rltemp.distillation.minibatches import WHOLE, Minibatch, MinibatchStream
from rltemp.seeding import make_generator
from rltemp.transfer import to_device

__all__ = ["ImagesOnDisk"]


@dataclasses.dataclass(frozen=True, eq=False)
class ImagesOnDisk:
    """Images of any size on disk, decoded when they are needed; implements `TrainingImages`.

    Attributes:
        files: the N images.
        side: height and width, in pixels, of the random crops of 8 to 100 % of the area (see `FolderLoader`).
        augmentation: applied to the crops.
        device: where minibatches are moved.
        workers: processes that decode, per network; 0 decodes in the training process.
    """

    files: ImageFiles
    side: int
    augmentation: Augmentation
    device: torch.device
    workers: int = 0

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return self.files.classes

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.files)

    def content(self) -> Iterator[bytes]:
        """Bytes that change with the files' names, sizes, dates, labels, or the crops' size; for a cache's key."""
        yield repr((self.files.fingerprint(), self.side)).encode()

    def minibatches(self, seeds: Sequence[int], batch_size: int, share: slice = WHOLE) -> DiskMinibatches:
        """Stream of minibatches for one network per seed; an epoch's incomplete last minibatch is left out."""
        return DiskMinibatches(self, seeds, batch_size, share)


class DiskMinibatches(MinibatchStream):
    """A `MinibatchStream` of images on disk.

    Args:
        images: the training images.
        seeds: one per student.
        batch_size: instances B per student and minibatch; an epoch's incomplete last minibatch is left out.
        share: of the B instances, which alone are decoded.
    """

    def __init__(self, images: ImagesOnDisk, seeds: Sequence[int], batch_size: int, share: slice = WHOLE) -> None:
        self._loaders = [
            FolderLoader(
                images.files,
                images.side,
                batch_size,
                make_generator(seed, "order"),
                augment=True,
                drop_last=True,
                workers=images.workers,
                share=share,
            )
            for seed in seeds
        ]
        super().__init__(seeds, self._loaders, images.augmentation, share)
        self._device = images.device
        self._batches = [_endless(loader) for loader in self._loaders]

    def draw(self) -> Minibatch:
        """Draw the next minibatch of every student: images [K, B, ...] and targets [K, B]."""
        batches = [next(batch) for batch in self._batches]
        images, targets = (torch.stack([batch[i] for batch in batches]) for i in (0, 1))
        images, targets = (to_device(part, self._device) for part in (images, targets))
        return Minibatch(self._augment(images), targets)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the minibatches to come are the same."""
        super().load_state_dict(state)
        # New iterators, since images decoded ahead belong to the old order.
        self._batches = [_endless(loader) for loader in self._loaders]


def _endless(loader: FolderLoader) -> Iterator[FolderBatch]:
    while True:
        yield from loader
