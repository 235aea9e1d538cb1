"""From what a user passes to `gymnasium.make` to a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rltemp.distillation.task import Task
from rltemp.errors import InputError
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task

__all__ = ["draw_seeds", "resolve"]


def resolve(
    recipe: str | Recipe, task: Task | Sequence[Task] | None, overrides: Mapping[str, Any]
) -> tuple[Recipe, tuple[Task, ...]]:
    """The recipe with its overrides, and its task, built unless it is given, or several are.

    Raises:
        InputError: for an unknown recipe or key, a wrong type, or overrides beside a recipe that is a value already.
    """
    if isinstance(recipe, Recipe):
        if overrides:
            raise InputError(f"overrides need the name or file of a recipe, got a Recipe and {sorted(overrides)}")
        setting = recipe
    else:
        setting = load_recipe(recipe, overrides)
    if task is None:
        return setting, (build_task(setting),)
    return setting, (task,) if isinstance(task, Task) else tuple(task)


def draw_seeds(generator: np.random.Generator, count: int) -> list[int]:
    """Seeds of the next episode's students."""
    return [int(seed) for seed in generator.integers(2**31, size=count)]
