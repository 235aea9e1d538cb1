"""What an arena compares, and where."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rltemp.errors import InputError
from rltemp.experiments.arena.conditions import lengthen, under_condition
from rltemp.experiments.arena.judge import LEAST_STUDENTS
from rltemp.experiments.arena.outcome import Cell
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.tasks.build import check_recipe, settle_precision

__all__ = ["TASKS", "Selection", "cell_recipe", "check_cells", "find_tasks"]

TASKS = {
    "digits": "arena-digits",
    "mnist1d": "arena-mnist1d",
    "fashion": "arena-fashion",
    "spoken-digits": "arena-spoken-digits",
    "news": "arena-news",
    "cifar100-16": "arena-cifar100-16",
    "shakespeare": "arena-shakespeare",
    "news-text": "arena-news-text",
}
"""Recipes of the suite by the name of the task."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """What an arena compares, and where.

    Attributes:
        tasks: by the name of the task.
        conditions: of `CONDITIONS`.
        budgets: multiples of each task's own updates, >= 1.
        methods: rules and published methods to judge, of `METHODS`.
        trained: trained policies to judge beside them.
        students: measured per method, >= 2.
        trials: settings tried for a reference, >= 3; a third of them for a rule.
        tuning_students: per trial, >= 1.
        asked: paired students that a ruling asks for; None for `LEAST_STUDENTS`.
    """

    tasks: dict[str, NamedRecipe]
    conditions: tuple[str, ...]
    budgets: tuple[int, ...]
    methods: tuple[str, ...]
    trained: tuple[PolicySpec, ...]
    students: int
    trials: int
    tuning_students: int
    asked: int | None = None

    def least(self, stacked: bool) -> int:
        """Paired students that a ruling asks for, where students run side by side or not."""
        return LEAST_STUDENTS[stacked] if self.asked is None else self.asked

    @property
    def cells(self) -> list[Cell]:
        """In the order of tasks, conditions, budgets."""
        return [Cell(task, condition, b) for task in self.tasks for condition in self.conditions for b in self.budgets]


def find_tasks(names: Sequence[str], data: str, *, allow_download: bool, allow_code: bool) -> dict[str, NamedRecipe]:
    """The recipes of tasks, checked, with images for the arena alone.

    Args:
        names: of `TASKS`, recipes, or recipe files; none stands for those of `TASKS` whose data are there.
        data: folder with a folder of each task of the suite that is not embedded.
        allow_download: as for `build_task`.
        allow_code: as for `build_task`.

    Raises:
        InputError: for a name that is no task and no recipe, or data that are missing.
    """
    leave = {"allow_download": allow_download, "allow_code": allow_code}
    found: dict[str, NamedRecipe] = {}
    for name in names or TASKS:
        recipe = load_recipe(TASKS.get(name, name))
        if name in TASKS and recipe.data.path is not None:
            recipe = change_recipe(recipe, {"data.path": str(Path(data, Path(recipe.data.path).name))})
            if not names and not Path(recipe.data.path or "").is_dir():
                continue
        recipe = change_recipe(recipe, {"data.pool": "arena"})
        check_recipe(recipe, **leave)
        recipe = settle_precision(recipe)
        key = name if name in TASKS else Path(name).stem
        if key in found:
            raise InputError(f"each task must be named once, got {key} twice")
        found[key] = NamedRecipe(key, recipe, **leave)
    return found


def check_cells(selection: Selection) -> None:
    """Refuse a condition that the recipe of a task cannot have, before any work starts.

    Raises:
        InputError: naming the first of them.
    """
    for cell in selection.cells:
        setting = selection.tasks[cell.task]
        try:
            recipe = cell_recipe(setting, cell)
            check_recipe(recipe, allow_download=setting.allow_download, allow_code=setting.allow_code)
        except InputError as error:
            raise InputError(f"{cell.task} cannot be under {cell.condition!r}: {error}") from error


def cell_recipe(setting: NamedRecipe, cell: Cell) -> Recipe:
    """The recipe of a cell, before anything is tuned."""
    return lengthen(under_condition(setting.recipe, cell.condition), cell.budget)
