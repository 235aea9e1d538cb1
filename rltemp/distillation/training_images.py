"""Training images, in memory or elsewhere, from which streams of minibatches are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from rltemp.data import Augmentation, BatchIndices, Dataset
from rltemp.distillation.minibatches import WHOLE, Minibatch, MinibatchStream
from rltemp.seeding import make_generator
from rltemp.transfer import to_device

__all__ = ["ImagesInMemory", "Minibatches", "TrainingImages"]


class TrainingImages(Protocol):
    """N labeled images and their augmentation: `ImagesInMemory`, `ImageViews`, or `ImagesOnDisk`."""

    @property
    def classes(self) -> int:
        """Number of classes C."""

    @property
    def augmentation(self) -> Augmentation:
        """The augmentation of every training image."""

    @property
    def device(self) -> torch.device:
        """Device of the minibatches."""

    def __len__(self) -> int:
        """Number of images N."""

    def content(self) -> Iterator[bytes]:
        """Bytes that change with the images and labels; for the key of a cache."""

    def minibatches(self, seeds: Sequence[int], batch_size: int, share: slice = WHOLE) -> MinibatchStream:
        """Stream of minibatches for one network per seed, or of a share of each of them.

        An epoch's incomplete last minibatch is left out.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class ImagesInMemory:
    """Images in memory that are augmented anew every time; implements `TrainingImages`.

    Attributes:
        dataset: the N images, on the device.
        augmentation: drawn anew for every image of every minibatch.
    """

    dataset: Dataset
    augmentation: Augmentation

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return self.dataset.classes

    @property
    def device(self) -> torch.device:
        """Device of the images."""
        return self.dataset.device

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.dataset)

    def content(self) -> Iterator[bytes]:
        """Bytes of the pixels and labels; for the key of a cache."""
        for tensor in (self.dataset.images, self.dataset.targets):
            yield tensor.cpu().numpy().tobytes()

    def minibatches(self, seeds: Sequence[int], batch_size: int, share: slice = WHOLE) -> Minibatches:
        """Stream of minibatches for one network per seed; an epoch's incomplete last minibatch is left out."""
        return Minibatches(self, seeds, batch_size, share)


class Minibatches(MinibatchStream):
    """A `MinibatchStream` of images in memory.

    Args:
        images: the training images.
        seeds: one per student.
        batch_size: instances B per student and minibatch; an epoch's incomplete last minibatch is left out.
        share: of the B instances.
    """

    def __init__(self, images: ImagesInMemory, seeds: Sequence[int], batch_size: int, share: slice = WHOLE) -> None:
        self._indices = index_orders(len(images), seeds, batch_size)
        super().__init__(seeds, self._indices, images.augmentation, share)
        self._dataset = images.dataset

    def draw(self) -> Minibatch:
        """Draw the next minibatch of every student, or its share: images [K, B, ...] and targets [K, B]."""
        taken = torch.stack([order.take() for order in self._indices])[:, self._share]
        indices = to_device(taken, self._dataset.device)
        # Whole images at once, which indexing with [K, B] would copy number by number.
        images = self._dataset.images.index_select(0, indices.flatten()).unflatten(0, indices.shape)
        return Minibatch(self._augment(images), self._dataset.targets[indices].flatten(1))


def index_orders(images: int, seeds: Sequence[int], batch_size: int) -> list[BatchIndices]:
    """Random orders of `images` images in memory, one per seed, without incomplete minibatches."""
    return [BatchIndices(images, batch_size, make_generator(seed, "order"), drop_last=True) for seed in seeds]
