"""Splitting of a source's images into the parts of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from rltemp.data import Dataset, ImageFiles, decode_centers
from rltemp.data.splits import split_rows
from rltemp.errors import InputError
from rltemp.recipes import schema
from rltemp.seeding import make_generator
from rltemp.tasks.conditions import classes_seen, with_junk, with_label_noise
from rltemp.tasks.sources import Source

__all__ = ["Parts", "make_parts", "part_rows"]

_LEAST_SAMPLE = 1000

Images = TypeVar("Images", Dataset, ImageFiles)


class Parts(NamedTuple):
    """Parts of a data set: train, validation, and test images are disjoint; the teacher's images include the students'.

    Attributes:
        train: training images of the students, in memory or on disk; with `data.junk`, some of them blended.
        teacher: training images of the teacher, none blended; with `teacher.without`, of the first classes alone.
        sample: the students' training images, not augmented, in memory: all, or of those on disk enough for the probe.
        validation: held-out images of the training data.
        test: images for the final evaluation alone.
        replaced: with `data.label_noise` and images in memory, which labels of `train` are not their own, [N] bool;
            else None.
    """

    train: Dataset | ImageFiles
    teacher: Dataset | ImageFiles
    sample: Dataset
    validation: Dataset
    test: Dataset
    replaced: Tensor | None = None


def make_parts(recipe: schema.Recipe, source: Source, cache: Path | None = None) -> Parts:
    """Split a source as a recipe's settings say.

    Args:
        recipe: the settings.
        source: the images.
        cache: folder where decoded images are kept and looked for; None decodes every time.

    Raises:
        InputError: for settings that ask for more images than there are, or leave the teacher none or too few classes.
    """
    if isinstance(source.images, Dataset):
        parts = _cut(recipe, source.images, with_test=source.test is None)
        train = parts["train"]
        if recipe.data.junk:
            train = with_junk(train, recipe.data.junk, make_generator(recipe.data.split_seed, "junk"))
        test = parts["test"] if source.test is None else source.test
        return Parts(train, parts["teacher"], train, parts["validation"], test, _replaced(recipe, source, train))
    assert source.test is not None
    assert recipe.data.image_size is not None
    files, side = _cut(recipe, source.images, with_test=False), recipe.data.image_size
    size = min(len(files["train"]), max(_LEAST_SAMPLE, recipe.policy.probe_size))
    sample, validation = (
        decode_centers(part, side, cache=cache)
        for part in (files["train"].subset(torch.arange(size)), files["validation"])
    )
    return Parts(files["train"], files["teacher"], sample, validation, source.test)


def part_rows(recipe: schema.Recipe, total: int, *, with_test: bool) -> dict[str, Tensor]:
    """Which images of a source each part of a recipe's task consists of.

    Args:
        recipe: the settings.
        total: number of images of the source, without test images of its own.
        with_test: whether the test images are cut from them as well.

    Returns:
        Rows of the images by part, each int64 and without repetition: "train" and "validation", "test" if `with_test`,
        all disjoint, and "teacher", which begins with "train" and is disjoint from the others. The teacher's are those
        of `teacher.train`, before images of some classes are left out (`teacher.without`).

    Raises:
        InputError: for settings that ask for more images than there are.
    """
    settings, wanted = recipe.data, recipe.teacher.train
    in_order = settings.context is not None
    pool, test = _halves(settings.pool, total) if in_order else _pool(settings.pool, total, with_test=with_test)
    sizes: dict[str, int | Literal["rest"]] = {"train": settings.train}
    # Before "validation", so that the number of validation images does not change the teacher.
    if wanted is not None and wanted > settings.train:
        sizes["more"] = wanted - settings.train
    sizes["validation"] = settings.validation
    if with_test and test is None:
        sizes["test"] = "rest"
    try:
        cut = split_rows(len(pool), sizes, make_generator(settings.split_seed, "split"), in_order=in_order)
    except InputError as error:
        if settings.pool == "all":
            raise
        raise InputError(f"data.pool {settings.pool!r}: {error}") from error
    rows = {name: pool[part] for name, part in cut.items()}
    if test is not None:
        rows["test"] = test
    rows["teacher"] = torch.cat([rows["train"], rows.pop("more")]) if "more" in rows else rows["train"]
    return rows


def _halves(name: Literal["all", "arena", "agents"], total: int) -> tuple[Tensor, None]:
    """Rows of a text that may be split: its first half for agents, its second for the arena."""
    first, end = {"all": (0, total), "agents": (0, total // 2), "arena": (total // 2, total)}[name]
    return torch.arange(first, end), None


def _pool(name: Literal["all", "arena", "agents"], total: int, *, with_test: bool) -> tuple[Tensor, Tensor | None]:
    """Rows that may be split, and those of the test images if a pool has them apart, cut once for all seeds."""
    if name == "all":
        return torch.arange(total), None
    order = torch.randperm(total, generator=make_generator(0, "pools"))
    held_out = total // 4 if with_test else 0
    agents = held_out + (total - held_out) // 3
    pool = order[held_out:agents] if name == "agents" else order[agents:]
    return pool, order[:held_out] if with_test else None


def _cut(recipe: schema.Recipe, images: Images, *, with_test: bool) -> dict[str, Images]:
    """The parts of `part_rows` with the labels as stated, "teacher" without the classes that it does not see."""
    settings = recipe.data
    rows = part_rows(recipe, len(images), with_test=with_test)
    parts = {name: images.subset(part) for name, part in rows.items() if name != "teacher"}
    generator = make_generator(settings.split_seed, "labels")
    parts["train"] = with_label_noise(parts["train"], settings.label_noise, generator)
    parts["teacher"] = parts["train"]
    if len(more := rows["teacher"][settings.train :]):
        generator = make_generator(settings.split_seed, "labels of the teacher")
        noisy = with_label_noise(images.subset(more), settings.label_noise, generator)
        parts["teacher"] = _joined(parts["train"], noisy)
    if recipe.teacher.without:
        classes = classes_seen(images.classes, recipe.teacher.without)
        parts["teacher"] = _of_classes(parts["teacher"], images.targets[rows["teacher"]], classes)
    return parts


def _replaced(recipe: schema.Recipe, source: Source, train: Dataset) -> Tensor | None:
    if not recipe.data.label_noise:
        return None
    rows = part_rows(recipe, len(source.images), with_test=source.test is None)["train"]
    return train.targets != source.images.targets[rows]


def _of_classes(data: Images, true: Tensor, classes: int) -> Images:
    """The images of which neither the class in `true`, [N], nor the label as stated is beyond the first `classes`."""
    seen = (torch.maximum(true, data.targets) < classes).nonzero()[:, 0]
    if len(seen) == 0:
        raise InputError(f"teacher.without must leave the teacher an image to train on, got none of {len(data)}")
    return data.subset(seen)


def _joined(a: Images, b: Images) -> Images:
    targets = torch.cat([a.targets, b.targets])
    if isinstance(a, Dataset):
        assert isinstance(b, Dataset)
        return Dataset(torch.cat([a.images, b.images]), targets, a.classes)
    return ImageFiles(a.paths + b.paths, targets, a.classes)
