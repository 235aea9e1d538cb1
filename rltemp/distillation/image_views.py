"""A bounded number of augmented views of every training image.

Where images are augmented anew every time, the teacher, often the most expensive part of a run, has to be asked every
time. With V views of each image, drawn once, it is asked once per view, for all epochs, students and policies. Without
random augmentation one view is all there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rltemp.data import Augmentation, Dataset
from rltemp.distillation.minibatches import Minibatch, MinibatchStream
from rltemp.distillation.training_images import ImagesInMemory, index_orders
from rltemp.errors import InputError
from rltemp.transfer import to_device

__all__ = ["ImageViews", "ViewMinibatches"]


class ImageViews:
    """V views of each of N images, as `TrainingImages`; row v * N + i is view v of image i.

    Args:
        images: N images in memory; their augmentation is drawn V times per image, here and never again.
        count: V >= 1.
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
        """What every view went through."""
        return self._images.augmentation

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self._images.device

    @property
    def rows(self) -> int:
        """Views in all, V * N."""
        return self.count * len(self._images)

    def __len__(self) -> int:
        """Number of images N."""
        return len(self._images)

    def content(self) -> Iterator[bytes]:
        """Pixels, labels, and what is done to them."""
        yield from self._images.content()
        yield self.fingerprint().encode()

    def fingerprint(self) -> str:
        """Changes with the images and with what is done to them."""
        digest = hashlib.sha256(repr(self.augmentation).encode())
        for tensor in (self._images.dataset.images, *self._draws):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def minibatches(self, seeds: Sequence[int], batch_size: int) -> ViewMinibatches:
        """What networks with these seeds see: a random view of each image that comes."""
        return ViewMinibatches(self, seeds, batch_size)

    def choose(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Rows [B]: a random view of each of the images at `indices` [B]."""
        if self.count == 1:
            return indices
        view = torch.randint(self.count, indices.shape, generator=generator)
        return view * len(self) + indices

    def look(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Augmented images [M, ...] and targets [M] of `rows` [M]."""
        dataset: Dataset = self._images.dataset
        indices = rows % len(self)
        draws = tuple(draw[rows] for draw in self._draws)
        return self.augmentation.apply(dataset.images[indices], draws), dataset.targets[indices]


class ViewMinibatches(MinibatchStream):
    """A `MinibatchStream` that draws a view of every image instead of augmenting it anew."""

    def __init__(self, views: ImageViews, seeds: Sequence[int], batch_size: int) -> None:
        self._indices = index_orders(len(views), seeds, batch_size)
        super().__init__(seeds, self._indices, views.augmentation)
        self._views = views

    def draw(self) -> Minibatch:
        """The next minibatch of every student."""
        taken = zip((order.take() for order in self._indices), self._generators, strict=True)
        rows = to_device(torch.stack([self._views.choose(*indices) for indices in taken]), self._views.device)
        images, targets = self._views.look(rows.flatten())
        return Minibatch(images.view(*rows.shape, *images.shape[1:]), targets.view(rows.shape), rows)
