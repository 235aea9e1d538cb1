"""Splitting of a source's images into the parts of a task."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import torch

from rltemp.data import Dataset, ImageFiles, decode_centers
from rltemp.data.splits import split
from rltemp.recipes import schema
from rltemp.seeding import make_generator
from rltemp.tasks.sources import Source

__all__ = ["Parts", "make_parts"]

_LEAST_SAMPLE = 1000

Images = TypeVar("Images", Dataset, ImageFiles)


class Parts(NamedTuple):
    """Parts of a data set: train, validation, and test images are disjoint; the teacher's images include the students'.

    Attributes:
        train: training images of the students, in memory or on disk.
        teacher: training images of the teacher.
        sample: clean training images in memory: all of them, or for images on disk enough for the probe.
        validation: held-out images of the training data.
        test: images for the final evaluation alone.
    """

    train: Dataset | ImageFiles
    teacher: Dataset | ImageFiles
    sample: Dataset
    validation: Dataset
    test: Dataset


def make_parts(recipe: schema.Recipe, source: Source, cache: Path | None = None) -> Parts:
    """Split a source as a recipe's settings say.

    Args:
        recipe: the settings.
        source: the images.
        cache: folder where decoded images are kept and looked for; None decodes every time.

    Raises:
        InputError: for settings that ask for more images than there are.
    """
    if isinstance(source.images, Dataset):
        parts = _cut(recipe, source.images, with_test=source.test is None)
        test = parts["test"] if source.test is None else source.test
        return Parts(parts["train"], parts["teacher"], parts["train"], parts["validation"], test)
    assert source.test is not None
    assert recipe.data.image_size is not None
    files, side = _cut(recipe, source.images, with_test=False), recipe.data.image_size
    size = min(len(files["train"]), max(_LEAST_SAMPLE, recipe.policy.probe_size))
    sample, validation = (
        decode_centers(part, side, cache=cache)
        for part in (files["train"].subset(torch.arange(size)), files["validation"])
    )
    return Parts(files["train"], files["teacher"], sample, validation, source.test)


def _cut(recipe: schema.Recipe, images: Images, *, with_test: bool) -> dict[str, Images]:
    """Disjoint parts "train" and "validation", "test" if `with_test`, and "teacher", which includes "train"."""
    settings, wanted = recipe.data, recipe.teacher.train
    sizes: dict[str, int | Literal["rest"]] = {"train": settings.train}
    # Before "validation", so that the number of validation images does not change the teacher.
    if wanted is not None and wanted > settings.train:
        sizes["more"] = wanted - settings.train
    sizes["validation"] = settings.validation
    if with_test:
        sizes["test"] = "rest"
    parts = split(images, sizes, make_generator(settings.split_seed, "split"))
    for name, stream in (("train", "labels"), ("more", "labels of the teacher")):
        if name in parts:
            generator = make_generator(settings.split_seed, stream)
            parts[name] = _with_label_noise(parts[name], settings.label_noise, generator)
    parts["teacher"] = _joined(parts["train"], parts["more"]) if "more" in parts else parts["train"]
    return parts


def _joined(a: Images, b: Images) -> Images:
    targets = torch.cat([a.targets, b.targets])
    if isinstance(a, Dataset):
        assert isinstance(b, Dataset)
        return Dataset(torch.cat([a.images, b.images]), targets, a.classes)
    return ImageFiles(a.paths + b.paths, targets, a.classes)


def _with_label_noise(data: Images, share: float, generator: torch.Generator) -> Images:
    """Replace each label, with probability `share`, by a random one."""
    chosen = torch.rand(len(data), generator=generator) < share
    random = torch.randint(data.classes, (len(data),), generator=generator)
    return dataclasses.replace(data, targets=torch.where(chosen, random, data.targets))
