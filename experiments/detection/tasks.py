"""The two detection tasks: their data, and how teacher and students are made and trained on them."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch

from rltemp.data import load_digits
from rltemp.detection import BoxedImages, load_cells, paste_digits, small_detector
from rltemp.errors import InputError
from rltemp.seeding import make_generator

__all__ = ["SETTINGS", "DetectionData", "Setting", "TaskName", "load_data", "make_detector"]

TaskName = Literal["digits", "cells"]


@dataclasses.dataclass(frozen=True)
class Setting:
    """How teacher and students are made and trained, the same under every policy.

    Attributes:
        teacher_width: of its `small_detector`.
        student_width: likewise.
        teacher_updates: of the teacher.
        updates: of a student.
        batch: images per update.
        lr: of AdamW at its highest, for both.
        weight: of the distillation term, for proposals with an object and without.
    """

    teacher_width: int = 16
    student_width: int = 8
    teacher_updates: int = 700
    updates: int = 300
    batch: int = 4
    lr: float = 3e-3
    weight: float = 1.0


# Photographs take longer than digits: after 300 updates some students have hardly begun.
SETTINGS: dict[TaskName, Setting] = {"digits": Setting(), "cells": Setting(updates=900)}


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionData:
    """The parts of a data set: students learn from `training`, references are chosen on `validation`."""

    training: BoxedImages
    validation: BoxedImages
    test: BoxedImages


def load_data(task: TaskName, path: str | None) -> DetectionData:
    """The data of a task.

    Args:
        task: which.
        path: of BCCD, a folder or a zip archive; None for digits, which come with scikit-learn.

    Raises:
        InputError: without a path where one is needed, or for files that are no such data.
    """
    if task == "cells":
        if path is None:
            raise InputError("--data must be BCCD's folder or a zip archive of it for cells, got nothing")
        return DetectionData(load_cells(path, "train"), load_cells(path, "val"), load_cells(path, "test"))
    if path is not None:
        raise InputError(f"--data must be left out for digits, which come with scikit-learn, got {path}")
    digits, canvases = load_digits(), make_generator(0, "canvases")
    # No digit of one part is seen in another.
    parts = torch.arange(len(digits)).split((1000, 300, len(digits) - 1300))
    counts = (400, 100, 200)
    pasted = (paste_digits(digits.subset(rows), count, canvases) for rows, count in zip(parts, counts, strict=True))
    return DetectionData(*pasted)


def make_detector(data: BoxedImages, width: int, generator: torch.Generator) -> Any:
    """A `small_detector` that takes these images in their own size; the generator draws its weights."""
    _, channels, height, wide = data.images.shape
    return small_detector(len(data.names), channels, min(height, wide), width, generator, longest=max(height, wide))
