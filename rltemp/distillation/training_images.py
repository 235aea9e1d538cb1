"""What networks are trained on: images that can make streams of minibatches, wherever they are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from rltemp.data import Augmentation, BatchIndices, Dataset
from rltemp.distillation.minibatches import Minibatch, MinibatchStream
from rltemp.seeding import make_generator
from rltemp.transfer import to_device

__all__ = ["ImagesInMemory", "Minibatches", "TrainingImages"]


class TrainingImages(Protocol):
    """N labelled images, and how they are augmented: `ImagesInMemory`, `ImageViews` or `ImagesOnDisk`."""

    @property
    def classes(self) -> int:
        """Number of classes C."""

    @property
    def augmentation(self) -> Augmentation:
        """What every image goes through."""

    @property
    def device(self) -> torch.device:
        """Where minibatches are wanted."""

    def __len__(self) -> int:
        """Number of images N."""

    def content(self) -> Iterator[bytes]:
        """Changes with images and labels."""

    def minibatches(self, seeds: Sequence[int], batch_size: int) -> MinibatchStream:
        """What networks with these seeds see; an epoch's incomplete last minibatch is left out."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImagesInMemory:
    """Images that fit into memory, augmented anew every time; see `TrainingImages`.

    Attributes:
        dataset: the images, on the device.
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
        """Where the images are."""
        return self.dataset.device

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.dataset)

    def content(self) -> Iterator[bytes]:
        """Pixels and labels themselves."""
        for tensor in (self.dataset.images, self.dataset.targets):
            yield tensor.cpu().numpy().tobytes()

    def minibatches(self, seeds: Sequence[int], batch_size: int) -> Minibatches:
        """What networks with these seeds see."""
        return Minibatches(self, seeds, batch_size)


class Minibatches(MinibatchStream):
    """A `MinibatchStream` of images in memory.

    Args:
        images: what is drawn from.
        seeds: one per student.
        batch_size: instances B per student and minibatch; an epoch's incomplete last one is left out.
    """

    def __init__(self, images: ImagesInMemory, seeds: Sequence[int], batch_size: int) -> None:
        self._indices = index_orders(len(images), seeds, batch_size)
        super().__init__(seeds, self._indices, images.augmentation)
        self._dataset = images.dataset

    def draw(self) -> Minibatch:
        """The next minibatch of every student."""
        indices = to_device(torch.stack([order.take() for order in self._indices]), self._dataset.device)
        return Minibatch(self._augment(self._dataset.images[indices]), self._dataset.targets[indices])


def index_orders(images: int, seeds: Sequence[int], batch_size: int) -> list[BatchIndices]:
    """The order of N images in memory for each of the students."""
    return [BatchIndices(images, batch_size, make_generator(seed, "order"), drop_last=True) for seed in seeds]
