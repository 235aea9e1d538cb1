"""Training images that do not fit into memory: decoded when they are needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rltemp.data import Augmentation, FolderBatch, FolderLoader, ImageFiles
from rltemp.distillation.minibatches import Minibatch, MinibatchStream
from rltemp.seeding import make_generator
from rltemp.transfer import to_device

__all__ = ["ImagesOnDisk"]


@dataclasses.dataclass(frozen=True, eq=False)
class ImagesOnDisk:
    """Images of any size that are decoded when they are needed; see `TrainingImages`.

    Attributes:
        files: the images.
        side: size of the random crops, of 8 to 100 % of the area, that networks see (`FolderLoader`).
        augmentation: of the crops.
        device: where they are wanted.
        workers: processes that decode, for each network.
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
        """The files' names, sizes, dates and labels, and how large the crops are."""
        yield repr((self.files.fingerprint(), self.side)).encode()

    def minibatches(self, seeds: Sequence[int], batch_size: int) -> DiskMinibatches:
        """What networks with these seeds see."""
        return DiskMinibatches(self, seeds, batch_size)


class DiskMinibatches(MinibatchStream):
    """A `MinibatchStream` of images on disk.

    Args:
        images: to be decoded.
        seeds: one per student.
        batch_size: instances B per student and minibatch; an epoch's incomplete last one is left out.
    """

    def __init__(self, images: ImagesOnDisk, seeds: Sequence[int], batch_size: int) -> None:
        self._loaders = [
            FolderLoader(
                images.files,
                images.side,
                batch_size,
                make_generator(seed, "order"),
                augment=True,
                drop_last=True,
                workers=images.workers,
            )
            for seed in seeds
        ]
        super().__init__(seeds, self._loaders, images.augmentation)
        self._device = images.device
        self._batches = [_endless(loader) for loader in self._loaders]

    def draw(self) -> Minibatch:
        """The next minibatch of every student."""
        batches = [next(batch) for batch in self._batches]
        images, targets = (torch.stack([batch[i] for batch in batches]) for i in (0, 1))
        images, targets = (to_device(part, self._device) for part in (images, targets))
        return Minibatch(self._augment(images), targets)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        super().load_state_dict(state)
        # What has been decoded ahead belongs to the old order.
        self._batches = [_endless(loader) for loader in self._loaders]


def _endless(loader: FolderLoader) -> Iterator[FolderBatch]:
    while True:
        yield from loader
