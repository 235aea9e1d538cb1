"""A bounded number of augmented views of every training image.

If images are augmented anew every time, the teacher, often the most expensive part of a run, must compute its logits
every time. With V views of each image, drawn once, it computes them once per view, for all epochs, students, and
policies. Without random augmentation there is one view.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from rltemp.data import Augmentation, Dataset
from rltemp.distillation.minibatches import WHOLE, Minibatch, MinibatchStream
from rltemp.distillation.training_images import ImagesInMemory, index_orders
from rltemp.errors import InputError
from rltemp.transfer import to_device

__all__ = ["BANK_CHUNK", "ImageViews", "ViewMinibatches"]

BANK_CHUNK = 500
"""Views that a network is asked for at a time."""


class ImageViews:
    """V fixed augmented views of each of N images; implements `TrainingImages`. Row v * N + i is view v of image i.

    Args:
        images: N images in memory; their augmentation is drawn V times per image, once and for all.
        count: V, >= 1.
        generator: draws the views.

    Attributes:
        count: V.

    Raises:
        InputError: for a count < 1.
    """

    def __init__(self, images: ImagesInMemory, count: int, generator: torch.Generator) -> None:
        if count < 1:
            raise InputError(f"data.views must be >= 1, got {count}")
        self.count = count
        self._images = images
        draws = images.augmentation.draw(count * len(images), generator)
        self._draws = tuple(draw.to(images.device) for draw in draws)

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return self._images.classes

    @property
    def augmentation(self) -> Augmentation:
        """The augmentation that each view was drawn from."""
        return self._images.augmentation

    @property
    def device(self) -> torch.device:
        """Device of the images."""
        return self._images.device

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the labels of one view: () for images, (L,) for windows of L tokens."""
        return tuple(self._images.dataset.targets.shape[1:])

    @property
    def rows(self) -> int:
        """Number of views of all images, V * N."""
        return self.count * len(self._images)

    def __len__(self) -> int:
        """Number of images N."""
        return len(self._images)

    def content(self) -> Iterator[bytes]:
        """Bytes that change with the pixels, the labels, the augmentation, or the views; for the key of a cache."""
        yield from self._images.content()
        yield self.fingerprint().encode()

    def fingerprint(self) -> str:
        """Hexadecimal digest that changes with the pixels, the augmentation, or the views, but not with the labels."""
        digest = hashlib.sha256(repr(self.augmentation).encode())
        for tensor in (self._images.dataset.images, *self._draws):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def minibatches(self, seeds: Sequence[int], batch_size: int, share: slice = WHOLE) -> ViewMinibatches:
        """Stream of minibatches for one network per seed, with a random view of each image.

        An epoch's incomplete last minibatch is left out.
        """
        return ViewMinibatches(self, seeds, batch_size, share)

    def choose(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a random view of each of the images at `indices` [B]; returns rows [B] in [0, V * N)."""
        if self.count == 1:
            return indices
        view = torch.randint(self.count, indices.shape, generator=generator)
        return view * len(self) + indices

    def ask(self, network: Callable[[Tensor], Tensor], advance: Callable[[], None] = lambda: None) -> Tensor:
        """What a network answers to every view, [V * N, ...].

        Args:
            network: maps images [M, ...] to [M, ...].
            advance: called after every `BANK_CHUNK` views.
        """
        parts: list[Tensor] = []
        for rows in torch.arange(self.rows, device=self.device).split(BANK_CHUNK):
            parts.append(network(self.look(rows)[0]))
            advance()
        return torch.cat(parts)

    def look(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Augmented images [M, ...] and targets [M], or [M, L] of windows, of the views at `rows` [M]."""
        dataset: Dataset = self._images.dataset
        indices = rows % len(self)
        draws = tuple(draw[rows] for draw in self._draws)
        return self.augmentation.apply(dataset.images[indices], draws), dataset.targets[indices]


class ViewMinibatches(MinibatchStream):
    """A `MinibatchStream` that draws one of V fixed views of every image instead of augmenting it anew.

    Args:
        views: the training images.
        seeds: one per student.
        batch_size: instances B per student and minibatch; an epoch's incomplete last minibatch is left out.
        share: of the B instances.
    """

    def __init__(self, views: ImageViews, seeds: Sequence[int], batch_size: int, share: slice = WHOLE) -> None:
        self._indices = index_orders(len(views), seeds, batch_size)
        super().__init__(seeds, self._indices, views.augmentation, share)
        self._views = views

    def draw(self) -> Minibatch:
        """Draw the next minibatch of every student: images [K, B, ...], targets [K, B], and view rows [K, B]."""
        taken = zip((order.take() for order in self._indices), self._generators, strict=True)
        chosen = torch.stack([self._views.choose(*indices)[self._share] for indices in taken])
        rows = to_device(chosen, self._views.device)
        images, targets = self._views.look(rows.flatten())
        return Minibatch(images.view(*rows.shape, *images.shape[1:]), targets.view(len(rows), -1), rows)
