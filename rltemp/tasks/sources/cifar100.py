"""CIFAR-100."""

from __future__ import annotations

from pathlib import Path

import torch

from rltemp.data import CIFAR100_MEAN, CIFAR100_STD, Dataset, Normalize, average_pool, load_cifar100
from rltemp.recipes import schema
from rltemp.seeding import make_generator
from rltemp.tasks.sources.loader import Source, SourceLoader

__all__ = ["Cifar100"]

_SIDE, _CLASSES = 32, 100
_PREPARATION = (Normalize(CIFAR100_MEAN, CIFAR100_STD),)


class Cifar100(SourceLoader):
    """torchvision's files, or a tree of images; normalized by the moments that papers use."""

    line = "CIFAR-100: torchvision's files, or a tree train/<class>/*, test/<class>/*"
    downloads = "CIFAR-100"

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """50,000 training and 10,000 test images uint8 [3, 32, 32]."""
        root = Path(settings.path or "")
        train = load_cifar100(root, "train", download=settings.download, cache=cache)
        test = load_cifar100(root, "test", download=settings.download, cache=cache)
        return Source(train, test, _PREPARATION)

    def resemble(self, settings: schema.Data, count: int) -> Source:
        """Noise of the size that the settings ask for, in 100 classes; the test images are `count` more."""
        generator, shape = make_generator(settings.split_seed, "noise"), (2 * count, 3, _SIDE, _SIDE)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        noise = Dataset(pixels, torch.arange(2 * count) % _CLASSES, _CLASSES)
        if settings.image_size is not None:
            noise = average_pool(noise, settings.image_size)
        train, test = (noise.subset(rows) for rows in torch.arange(2 * count).chunk(2))
        return Source(train, test, _PREPARATION)
