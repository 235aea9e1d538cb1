"""Any tree of images, and that of ImageNet."""

from __future__ import annotations

from pathlib import Path

import torch

from rltemp.data import Dataset, ImageFiles, Normalize, average_pool, decode_centers, list_images, load_image_folder
from rltemp.errors import InputError
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader
from rltemp.tasks.sources.standardization import standardization

__all__ = ["Folder", "ImageNet"]

_SAMPLE = 1000
"""Images on disk from which the mean and deviation of pixels are taken."""


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels of ImageNet's training images by channel, in [0, 1], as papers and torchvision's weights have them."""


class Folder(SourceLoader):
    """A tree train/<class>/*, test/<class>/*, in memory or on disk; standardized by its own moments."""

    line = "a tree of images train/<class>/*, test/<class>/*, in memory or on disk"
    on_disk = True

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Images uint8 [3, H, W] of one size; or, on disk, files of any size."""
        root = Path(settings.path or "")
        if settings.in_memory:
            return _checked(_in_memory(root, settings, cache), root)
        source = _checked(_on_disk(root, "test", settings, cache), root)
        spread = torch.arange(0, len(source.images), max(1, len(source.images) // _SAMPLE))
        assert isinstance(source.images, ImageFiles)
        assert settings.image_size is not None
        sample = decode_centers(source.images.subset(spread), settings.image_size, cache=cache)
        return source._replace(preparation=(standardization(sample.images),))


class ImageNet(SourceLoader):
    """ImageNet as torchvision lays it out, on disk; normalized by the moments that papers use."""

    line = "ImageNet on disk, or a part of it: train/<class>/*, val/<class>/*"
    on_disk = True

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Training images as files of any size; validation images, which are those to test on, as center crops."""
        root = Path(settings.path or "")
        source = _checked(_on_disk(root, "val", settings, cache), root)
        return source._replace(preparation=(Normalize(IMAGENET_MEAN, IMAGENET_STD),))

    def check(self, settings: schema.Data, *, allow_download: bool = False) -> None:
        """Refuse a missing folder, and images in memory, which would be of one size.

        Raises:
            InputError: for either.
        """
        super().check(settings, allow_download=allow_download)
        if settings.in_memory:
            raise InputError("data.in_memory must be false for 'imagenet', got true")


def _checked(source: Source, root: Path) -> Source:
    """The source, which must have the same number of classes in both parts."""
    classes = (source.images.classes, source.test.classes if source.test is not None else None)
    if classes[0] != classes[1]:
        raise InputError(
            f"data.path must hold as many classes to train as to test, {root} has {classes[0]} and {classes[1]}"
        )
    return source


def _in_memory(root: Path, settings: schema.Data, cache: Path | None) -> Source:
    # Resized before the moments are taken, which are those of what networks see.
    train, test = (_resize(load_image_folder(root / part, cache=cache), settings) for part in ("train", "test"))
    return Source(train, test, (standardization(train.images),))


def _on_disk(root: Path, test: str, settings: schema.Data, cache: Path | None) -> Source:
    assert settings.image_size is not None
    return Source(
        list_images(root / "train"), decode_centers(list_images(root / test), settings.image_size, cache=cache)
    )


def _resize(dataset: Dataset, settings: schema.Data) -> Dataset:
    return dataset if settings.image_size is None else average_pool(dataset, settings.image_size)
