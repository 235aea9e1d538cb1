"""Minibatches of K students: each student has its own order of the training images and its own augmentation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from rltemp.data import Augmentation, BatchIndices, FolderLoader, concatenate
from rltemp.seeding import make_generator

__all__ = ["WHOLE", "Minibatch", "MinibatchStream", "Partners"]

WHOLE = slice(None)
"""All instances of a minibatch."""


class Partners(NamedTuple):
    """The second labels of instances that are mixtures of two images.

    Attributes:
        targets: class indices, [K, B]; of no meaning where the share is 1.
        share: of the first label, [K, B] in [0, 1]; 1 for instances that are no mixtures.
    """

    targets: Tensor
    share: Tensor


class Minibatch(NamedTuple):
    """One minibatch for each of K students.

    Of texts, the B instances are the tokens of S windows of L positions, window after window: B = S * L.

    Attributes:
        images: augmented images, [K, B, ...], or windows [K, S, L].
        targets: class indices, [K, B].
        rows: [K, B], or [K, S], rows of `ImageViews` that the images are; None if every image is augmented anew.
        partners: second labels, where instances are mixtures; None if there are none.
    """

    images: Tensor
    targets: Tensor
    rows: Tensor | None = None
    partners: Partners | None = None


class MinibatchStream(ABC):
    """An endless stream of minibatches of K students; a student's minibatches depend on its own seed alone.

    A stream may give a share of every minibatch alone: whoever gives another share draws the same numbers, and both
    together give what one stream gives.

    Args:
        seeds: one per student.
        orders: the order in which each student sees its images, one per student.
        augmentation: drawn anew for every image of every minibatch.
        share: of the B instances of a minibatch, which the stream gives.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        orders: Sequence[BatchIndices | FolderLoader],
        augmentation: Augmentation,
        share: slice = WHOLE,
    ) -> None:
        self._generators = [make_generator(seed, "augmentation") for seed in seeds]
        self._orders = orders
        self._augmentation = augmentation
        self._share = share

    @property
    def per_epoch(self) -> int:
        """Minibatches per epoch."""
        return len(self._orders[0])

    @abstractmethod
    def draw(self) -> Minibatch:
        """Draw the next minibatch of every student, or its share: images [K, B, ...] and targets [K, B].

        Of tokens, images are windows and targets those of all their tokens, as `Minibatch` has them.
        """

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the minibatches to come: orders and generators of all students."""
        return {
            "orders": [order.state_dict() for order in self._orders],
            "generators": [generator.get_state() for generator in self._generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the minibatches to come are the same."""
        for order, saved in zip(self._orders, state["orders"], strict=True):
            order.load_state_dict(saved)
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.set_state(saved)

    def _augment(self, images: Tensor) -> Tensor:
        """Augment images [K, B, ...], each student's with its share of draws from its own generator."""
        batch = self._orders[0].batch_size
        drawn = concatenate([self._augmentation.draw(batch, generator) for generator in self._generators])
        # Shared out at once: student by student, it would take as long as drawing.
        draws = tuple(draw.unflatten(0, (-1, batch))[:, self._share].flatten(0, 1) for draw in drawn)
        augmented = self._augmentation.apply(images.flatten(0, 1), draws)
        return augmented.view(*images.shape[:2], *augmented.shape[1:])
