"""Any tree of images."""

from __future__ import annotations

from pathlib import Path

import torch

from rltemp.data import Dataset, average_pool, decode_centers, list_images, load_image_folder
from rltemp.errors import InputError
from rltemp.recipes import schema
from rltemp.tasks.sources.loader import Source, SourceLoader
from rltemp.tasks.sources.standardization import standardization

__all__ = ["Folder"]

_SAMPLE = 1000
"""Images on disk from which the mean and deviation of pixels are taken."""


class Folder(SourceLoader):
    """A tree train/<class>/*, test/<class>/*, in memory or on disk; standardized by its own moments."""

    line = "a tree of images train/<class>/*, test/<class>/*, in memory or on disk"
    on_disk = True

    def load(self, settings: schema.Data, cache: Path | None) -> Source:
        """Images uint8 [3, H, W] of one size; or, on disk, files of any size."""
        root = Path(settings.path or "")
        source = _in_memory(root, settings, cache) if settings.in_memory else _on_disk(root, settings, cache)
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


def _on_disk(root: Path, settings: schema.Data, cache: Path | None) -> Source:
    assert settings.image_size is not None
    files = list_images(root / "train")
    spread = torch.arange(0, len(files), max(1, len(files) // _SAMPLE))
    sample = decode_centers(files.subset(spread), settings.image_size, cache=cache)
    test = decode_centers(list_images(root / "test"), settings.image_size, cache=cache)
    return Source(files, test, (standardization(sample.images),))


def _resize(dataset: Dataset, settings: schema.Data) -> Dataset:
    return dataset if settings.image_size is None else average_pool(dataset, settings.image_size)
