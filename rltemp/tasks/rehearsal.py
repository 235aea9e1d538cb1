"""A recipe's task before its data are read and its teacher is trained: what memory and time are measured on."""

from __future__ import annotations

from pathlib import Path

from rltemp.distillation.task import Task
from rltemp.recipes import change_recipe
from rltemp.recipes.schema import Recipe
from rltemp.tasks.build import assemble_task
from rltemp.tasks.sources import load_source, resemble_source

__all__ = ["rehearse_task"]

BATCHES = 4
"""Minibatches of an epoch."""


def rehearse_task(recipe: Recipe, *, cache: Path | None = None, allow_code: bool = False) -> Task:
    """The task with its own networks, batch size and validation images, few training images, and a teacher as drawn.

    Images are noise where the source knows what its instances are like (`SourceLoader.resemble`); others are read.

    Args:
        recipe: the settings.
        cache: folder where decoded images are kept and looked for.
        allow_code: whether modules that the recipe names may be imported.

    Raises:
        InputError: for networks that do not fit, or data that cannot be read.
    """
    images, validation = BATCHES * recipe.optimization.batch_size, recipe.data.validation
    small = change_recipe(
        recipe,
        {
            **{"data.train": images, "data.pool": "all", "data.label_noise": 0.0, "data.junk": 0.0},
            **{"teacher.train": None, "teacher.source": None, "teacher.without": 0.0, "teacher.epochs": 0},
            "teacher.checkpoint": None,
        },
    )
    source = resemble_source(small.data, images + validation, allow_code=allow_code)
    if source is None:
        source = load_source(small.data, cache, allow_code=allow_code)
    return assemble_task(small, source, allow_code=allow_code)
