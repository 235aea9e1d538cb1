"""Resolving the arguments of `gymnasium.make` to a recipe and its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rltemp.distillation.task import Task
from rltemp.errors import InputError
from rltemp.recipes import Recipe, load_recipe
from rltemp.recipes.consistency import check_settings
from rltemp.recipes.schema import Optimization
from rltemp.tasks import prepare_task

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
        InputError: for an unknown recipe or key, a wrong type or value, overrides of a `Recipe`, or students whose loss
            has a probe of its own.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides)
    elif overrides:
        raise InputError(f"overrides need the name or file of a recipe, got a Recipe and {sorted(overrides)}")
    check_settings(recipe)
    _check_loss(recipe.optimization)
    if task is None:
        return recipe, (prepare_task(recipe),)
    tasks = (task,) if isinstance(task, Task) else tuple(task)
    for given in tasks:
        _check_loss(given.optimization)
    return recipe, tasks


def _check_loss(optimization: Optimization) -> None:
    """Refuse a term that an episode's updates do not have, and that neither rewards nor credit know."""
    if optimization.probe_weight > 0.0:
        raise InputError(
            f"optimization.probe_weight must be 0 where an agent is trained, got {optimization.probe_weight:g}"
        )
