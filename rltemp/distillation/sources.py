"""Where images come from, as a recipe names it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from rltemp.data import (
    CIFAR100_MEAN,
    CIFAR100_STD,
    Augmentation,
    Dataset,
    GaussianNoise,
    HorizontalFlip,
    Normalize,
    Shift,
    Transform,
    average_pool,
    load_cifar100,
    load_digits,
    load_image_folder,
)
from rltemp.errors import InputError
from rltemp.recipes import schema

__all__ = ["Source", "load_source", "make_augmentation"]

_CHUNK = 4096


class Source(NamedTuple):
    """Images before they are split.

    Attributes:
        images: to be split into training and validation images.
        test: test images; None where they are cut from `images` as well.
        preparation: what every image goes through before a network sees it.
    """

    images: Dataset
    test: Dataset | None
    preparation: tuple[Transform, ...]


def load_source(settings: schema.Data, cache: Path | None = None) -> Source:
    """Read the images that `settings` name, at the size they ask for.

    Args:
        settings: the data of a recipe.
        cache: folder where decoded trees of images are kept; None decodes them every time.

    Raises:
        InputError: for a missing path or folder, or an image size that does not fit.
    """
    if settings.name == "digits":
        digits = load_digits()
        # About the pixels' root mean square, so that inputs are of size 1.
        return Source(_resize(dataclasses.replace(digits, images=digits.images / 0.5), settings), None, ())
    if settings.path is None:
        raise InputError(f"data.path must name the folder of {settings.name!r}, got null")
    root = Path(settings.path)
    if settings.name == "cifar100":
        train = load_cifar100(root, "train", download=settings.download, cache=cache)
        test = load_cifar100(root, "test", download=settings.download, cache=cache)
        return Source(_resize(train, settings), _resize(test, settings), (Normalize(CIFAR100_MEAN, CIFAR100_STD),))
    train, test = (_resize(load_image_folder(root / part, cache=cache), settings) for part in ("train", "test"))
    if train.classes != test.classes:
        raise InputError(
            f"data.path must hold as many classes to train as to test, {root} has {train.classes} and {test.classes}"
        )
    return Source(train, test, (_standardization(train.images),))


def make_augmentation(
    settings: schema.Data, image_shape: tuple[int, ...], preparation: tuple[Transform, ...]
) -> Augmentation:
    """What training images go through: shifts and flips of pixels, preparation, noise."""
    transforms: list[Transform] = []
    if settings.shift:
        transforms.append(Shift(settings.shift))
    if settings.flip:
        transforms.append(HorizontalFlip())
    transforms += preparation
    if settings.noise:
        transforms.append(GaussianNoise(settings.noise, image_shape))
    return Augmentation(tuple(transforms))


def _resize(dataset: Dataset, settings: schema.Data) -> Dataset:
    return dataset if settings.image_size is None else average_pool(dataset, settings.image_size)


def _standardization(images: Tensor) -> Normalize:
    """Mean 0 and standard deviation 1 by channel over `images` uint8 [N, C, H, W]."""
    total, squares = (torch.zeros(images.shape[1], dtype=torch.float64) for _ in range(2))
    for chunk in images.split(_CHUNK):
        pixels = chunk.double() / 255.0
        total += pixels.sum((0, 2, 3))
        squares += pixels.square().sum((0, 2, 3))
    count = images.numel() / images.shape[1]
    mean = total / count
    # A channel without any contrast is left unscaled.
    std = (squares / count - mean.square()).clamp(min=0.0).sqrt()
    std = torch.where(std > 1e-6, std, torch.ones_like(std))
    return Normalize(tuple(mean.tolist()), tuple(std.tolist()))
