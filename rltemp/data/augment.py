"""Augmentation of whole batches on the device.

Drawing is separate from applying, so that K students each draw from their own generator, and all K * B images are still
augmented in one call: `concatenate` the students' draws, then `apply` them.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from rltemp.errors import InputError
from rltemp.transfer import filled, to_device

__all__ = ["Augmentation", "Draws", "GaussianNoise", "HorizontalFlip", "Normalize", "Shift", "Transform", "concatenate"]

Draws = tuple[Tensor, ...]
"""Random numbers of an `Augmentation`: one tensor [B, ...] for each of its transforms."""


class Transform(ABC):
    """One step of an augmentation: draws random numbers, and transforms images by them."""

    random = True
    """Whether the step draws anything; a step that does not is applied to clean images as well."""

    @abstractmethod
    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw random numbers [B, ...] for B = `batch` images, on the generator's device."""

    @abstractmethod
    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """Transform `images` [B, ...] by the random numbers `draw` [B, ...]."""


@dataclasses.dataclass(frozen=True)
class Shift(Transform):
    """Move each image by up to `max_pixels` rows and columns, filling with zeros.

    Uniform over whole pixels: the same as padding by `max_pixels` and cropping to the old size at random.

    Attributes:
        max_pixels: >= 1.

    Raises:
        InputError: for a `max_pixels` < 1.
    """

    max_pixels: int = 1

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise InputError(f"max_pixels must be >= 1, got {self.max_pixels}")

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Offsets [B, 2], rows then columns, int64 in [-max_pixels, max_pixels]."""
        size = (batch, 2)
        return torch.randint(-self.max_pixels, self.max_pixels + 1, size, generator=generator, device=generator.device)

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """Move `images` [B, C, H, W] down and right by `draw` [B, 2]."""
        channels, height, width = images.shape[1:]
        pad = self.max_pixels
        padded = torch.nn.functional.pad(images, (pad, pad, pad, pad)).flatten(2)
        wide = width + 2 * pad
        rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
        # Numbers of an image's pixels in the padded one: those of a corner's, moved by one number per image.
        window = (rows[:, None] * wide + columns).flatten()
        corner = (pad - draw[:, 0]) * wide + (pad - draw[:, 1])
        pixels = (corner[:, None] + window).unsqueeze(1).expand(-1, channels, -1)
        return padded.gather(2, pixels).view_as(images)


@dataclasses.dataclass(frozen=True)
class HorizontalFlip(Transform):
    """Mirror each image left to right with the given probability.

    Attributes:
        probability: in [0, 1].

    Raises:
        InputError: for a probability out of range.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise InputError(f"probability must lie in [0, 1], got {self.probability}")

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Which images are mirrored, [B] bool."""
        return torch.rand(batch, generator=generator, device=generator.device) < self.probability

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """Mirror `images` [B, C, H, W] where `draw` [B] is true."""
        return torch.where(draw[:, None, None, None], images.flip(-1), images)


@dataclasses.dataclass(frozen=True)
class GaussianNoise(Transform):
    """Add independent normal noise to every pixel of floating-point images.

    Attributes:
        std: standard deviation, > 0, in the unit of the pixels.
        image_shape: shape of one image.

    Raises:
        InputError: for a `std` that is not > 0 and finite.
    """

    std: float = 0.3
    image_shape: tuple[int, ...] = (1, 8, 8)

    def __post_init__(self) -> None:
        if not 0.0 < self.std < math.inf:
            raise InputError(f"std must be > 0 and finite, got {self.std}")

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw standard normal numbers [B, *image_shape]."""
        return torch.randn((batch, *self.image_shape), generator=generator, device=generator.device)

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """Add `draw` [B, *image_shape] times the standard deviation to `images` of the same shape."""
        return torch.add(images, draw, alpha=self.std)


@dataclasses.dataclass(frozen=True)
class Normalize(Transform):
    """Turn uint8 images [B, C, H, W] into float32: (pixel / 255 - mean) / std, by channel.

    Attributes:
        mean: of each of C channels, pixels in [0, 1].
        std: standard deviation of each of C channels, > 0.

    Raises:
        InputError: for unequal numbers of channels, or a `std` <= 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    random = False

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or min(self.std) <= 0.0:
            raise InputError(f"mean and std must have one value per channel, std > 0, got {self.mean} and {self.std}")

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """An empty tensor [B, 0]: nothing is drawn, and the generator does not change."""
        return torch.empty(batch, 0, device=generator.device)

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """Normalize `images` uint8 [B, C, H, W] to float32; `draw` is ignored."""
        shape = (1, len(self.mean), 1, 1)
        mean, std = (filled(values, torch.float32, images.device).view(shape) for values in (self.mean, self.std))
        return (images * (1.0 / 255.0) - mean) / std


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A sequence of transforms, applied one after the other.

    Attributes:
        transforms: in the order of application; may be empty.
    """

    transforms: tuple[Transform, ...] = ()

    def draw(self, batch: int, generator: torch.Generator) -> Draws:
        """Draw random numbers for B = `batch` images: one tensor [B, ...] per transform, on the generator's device."""
        return tuple(transform.draw(batch, generator) for transform in self.transforms)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Transform `images` [B, ...] by `draws`, one tensor [B, ...] per transform."""
        for transform, draw in zip(self.transforms, draws, strict=True):
            images = transform.apply(images, to_device(draw, images.device))
        return images

    def clean(self, images: Tensor) -> Tensor:
        """Prepare `images` [B, ...] for evaluation, by the transforms that draw nothing."""
        for transform in self.transforms:
            if not transform.random:
                images = transform.apply(images, images.new_empty(len(images), 0))
        return images


def concatenate(draws: Sequence[Draws]) -> Draws:
    """Join the draws of several students, each tensor [B, ...], along the batch to tensors [K * B, ...]."""
    return tuple(torch.cat(parts) for parts in zip(*draws, strict=True))
