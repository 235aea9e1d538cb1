"""What training instances go through, as a recipe says."""

from __future__ import annotations

import torch

from rltemp.data import Augmentation, Dataset, GaussianNoise, HorizontalFlip, Shift, Transform
from rltemp.errors import InputError
from rltemp.recipes import schema

__all__ = ["make_augmentation"]


def make_augmentation(settings: schema.Data, sample: Dataset, preparation: tuple[Transform, ...]) -> Augmentation:
    """Shifts and flips of pixels, preparation, noise.

    Args:
        settings: what is asked for.
        sample: instances as they are stored.
        preparation: of the source.

    Raises:
        InputError: for shifts or flips of what is no image [C, H, W], or noise on token ids.
    """
    if len(sample.shape) != 3:
        _refuse("shift", settings.shift, f"instances of shape {list(sample.shape)}")
        _refuse("flip", settings.flip, f"instances of shape {list(sample.shape)}")
    if sample.images.dtype == torch.int64:
        _refuse("noise", settings.noise, "token ids")
    transforms: list[Transform] = []
    if settings.shift:
        transforms.append(Shift(settings.shift))
    if settings.flip:
        transforms.append(HorizontalFlip())
    transforms += preparation
    if settings.noise:
        transforms.append(GaussianNoise(settings.noise, sample.shape))
    return Augmentation(tuple(transforms))


def _refuse(name: str, value: float, instances: str) -> None:
    """Refuse any `value` but zero; those of a teacher can be its own."""
    if value:
        fields = "data.noise" if name == "noise" else f"data.{name} and teacher.{name}"
        raise InputError(f"{fields} must be {'false' if name == 'flip' else '0'} for {instances}, got {value}")
