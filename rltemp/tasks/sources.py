"""Loading of the images that a recipe names."""

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
    ImageFiles,
    Normalize,
    Shift,
    Transform,
    average_pool,
    decode_centers,
    list_images,
    load_cifar100,
    load_digits,
    load_image_folder,
)
from rltemp.errors import InputError
from rltemp.recipes import schema

__all__ = ["Source", "check_source", "load_source", "make_augmentation"]

_CHUNK = 4096

_SAMPLE = 1000
"""Number of images on disk that give the mean and standard deviation of the pixels."""


class Source(NamedTuple):
    """Images before the split.

    Attributes:
        images: for training and validation, in memory or on disk.
        test: test images; None to split them from `images` as well.
        preparation: transforms of every image before it enters a network.
    """

    images: Dataset | ImageFiles
    test: Dataset | None
    preparation: tuple[Transform, ...]


def load_source(settings: schema.Data, cache: Path | None = None) -> Source:
    """Load the images that a recipe names, resized to its `image_size`.

    Args:
        settings: the recipe's data, already checked by `check_source`.
        cache: folder where decoded trees of images are kept and looked for; None decodes them every time.

    Raises:
        InputError: for a folder without images, unequal classes to train and to test, or an image size that does not
            fit.
    """
    if settings.name == "digits":
        digits = load_digits()
        # 0.5 is about the pixels' root mean square, which makes that of the inputs about 1.
        return Source(_resize(dataclasses.replace(digits, images=digits.images / 0.5), settings), None, ())
    assert settings.path is not None
    root = Path(settings.path)
    if settings.name == "cifar100":
        train = load_cifar100(root, "train", download=settings.download, cache=cache)
        test = load_cifar100(root, "test", download=settings.download, cache=cache)
        return Source(_resize(train, settings), _resize(test, settings), (Normalize(CIFAR100_MEAN, CIFAR100_STD),))
    source = _in_memory(root, settings, cache) if settings.in_memory else _on_disk(root, settings, cache)
    classes = (source.images.classes, source.test.classes if source.test is not None else None)
    if classes[0] != classes[1]:
        raise InputError(
            f"data.path must hold as many classes to train as to test, {root} has {classes[0]} and {classes[1]}"
        )
    return source


def _in_memory(root: Path, settings: schema.Data, cache: Path | None) -> Source:
    train, test = (_resize(load_image_folder(root / part, cache=cache), settings) for part in ("train", "test"))
    return Source(train, test, (_standardization(train.images),))


def _on_disk(root: Path, settings: schema.Data, cache: Path | None) -> Source:
    assert settings.image_size is not None
    files = list_images(root / "train")
    spread = torch.arange(0, len(files), max(1, len(files) // _SAMPLE))
    sample = decode_centers(files.subset(spread), settings.image_size, cache=cache)
    test = decode_centers(list_images(root / "test"), settings.image_size, cache=cache)
    return Source(files, test, (_standardization(sample.images),))


def check_source(settings: schema.Data, *, allow_download: bool = False) -> None:
    """Raise `InputError` for mistakes in the data settings that can be found before an image is read.

    Args:
        settings: the recipe's data.
        allow_download: whether data may be downloaded.

    Raises:
        InputError: for a missing folder, or a download that is not allowed.
    """
    if settings.path is None or settings.name == "digits":
        return
    if settings.name == "cifar100" and settings.download:
        if not allow_download:
            raise InputError("data.download true would download CIFAR-100: give --allow-download to allow it")
    elif not Path(settings.path).is_dir():
        hint = " (data.download=true fetches it)" if settings.name == "cifar100" else ""
        raise InputError(f"data.path must be the folder of {settings.name!r}, got {settings.path}, no folder{hint}")


def make_augmentation(
    settings: schema.Data, image_shape: tuple[int, ...], preparation: tuple[Transform, ...]
) -> Augmentation:
    """Augmentation of training images: shifts and flips of pixels, then the source's preparation, then noise.

    Args:
        settings: the recipe's data.
        image_shape: shape of one image.
        preparation: transforms of every image before it enters a network.
    """
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
    """Normalization by channel to mean 0 and standard deviation 1 over `images` uint8 [N, C, H, W]."""
    total, squares = (torch.zeros(images.shape[1], dtype=torch.float64) for _ in range(2))
    for chunk in images.split(_CHUNK):
        pixels = chunk.double() / 255.0
        total += pixels.sum((0, 2, 3))
        squares += pixels.square().sum((0, 2, 3))
    count = images.numel() / images.shape[1]
    mean = total / count
    # A constant channel is not scaled.
    std = (squares / count - mean.square()).clamp(min=0.0).sqrt()
    std = torch.where(std > 1e-6, std, torch.ones_like(std))
    return Normalize(tuple(mean.tolist()), tuple(std.tolist()))
