"""Resolving the arguments of `gymnasium.make` to a recipe and its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rltemp.distillation.task import Task
from rltemp.errors import InputError
from rltemp.recipes import Recipe, load_recipe
from rltemp.recipes.consistency import check_settings
from rltemp.tasks import build_task

__all__ = ["resolve"]


def resolve(
    recipe: str | Recipe, task: Task | Sequence[Task] | None, overrides: Mapping[str, Any]
) -> tuple[Recipe, tuple[Task, ...]]:
    """The recipe with its overrides, and its tasks: the given ones, or the recipe's own, built here.

    Args:
        recipe: name or file of a recipe, or a `Recipe`.
        task: one task or several, if they are already built.
        overrides: values of the recipe, by dotted name or nested; only for a recipe by name or file.

    Raises:
        InputError: for an unknown recipe or key, a wrong type or value, or overrides of a `Recipe`.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides)
    elif overrides:
        raise InputError(f"overrides need the name or file of a recipe, got a Recipe and {sorted(overrides)}")
    if task is None:
        return recipe, (build_task(recipe),)
    check_settings(recipe)
    return recipe, (task,) if isinstance(task, Task) else tuple(task)
