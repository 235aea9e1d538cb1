"""What K students see: each its own order of the training images and its own augmentation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from rltemp.data import Augmentation, BatchIndices, FolderLoader, concatenate
from rltemp.seeding import make_generator

__all__ = ["Minibatch", "MinibatchStream"]


class Minibatch(NamedTuple):
    """One minibatch for each of K students.

    Attributes:
        images: augmented images [K, B, ...].
        targets: [K, B].
        rows: which of the training images' views they are, [K, B]; None where every image is augmented anew.
    """

    images: Tensor
    targets: Tensor
    rows: Tensor | None = None


class MinibatchStream(ABC):
    """An endless stream of minibatches of K students; what each sees depends on its own seed alone.

    Args:
        seeds: one per student.
        orders: in which each student sees its images.
        augmentation: drawn anew for every image of every minibatch.
    """

    def __init__(
        self, seeds: Sequence[int], orders: Sequence[BatchIndices | FolderLoader], augmentation: Augmentation
    ) -> None:
        self._generators = [make_generator(seed, "augmentation") for seed in seeds]
        self._orders = orders
        self._augmentation = augmentation

    @property
    def per_epoch(self) -> int:
        """Minibatches per epoch."""
        return len(self._orders[0])

    @abstractmethod
    def draw(self) -> Minibatch:
        """The next minibatch of every student."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the minibatches to come."""
        return {
            "orders": [order.state_dict() for order in self._orders],
            "generators": [generator.get_state() for generator in self._generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        for order, saved in zip(self._orders, state["orders"], strict=True):
            order.load_state_dict(saved)
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.set_state(saved)

    def _augment(self, images: Tensor) -> Tensor:
        """Images [K, B, ...], each student's by its own draws."""
        draws = concatenate([self._augmentation.draw(images.shape[1], generator) for generator in self._generators])
        augmented = self._augmentation.apply(images.flatten(0, 1), draws)
        return augmented.view(*images.shape[:2], *augmented.shape[1:])
