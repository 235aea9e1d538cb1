"""Tasks of recipes that differ in little, built once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import TypeVar

from rltemp.distillation import Task
from rltemp.distillation.teacher import Answers
from rltemp.recipes import Recipe

__all__ = ["TaskCache"]

Value = TypeVar("Value")

_DECIDES_A_TASK = ("data", "teacher", "student", "execution")


class TaskCache:
    """The tasks that were asked for last.

    Args:
        build: makes the task of a recipe.
        kept: tasks kept at a time, >= 1; each holds its data.
    """

    def __init__(self, build: Callable[[Recipe], Task], kept: int = 2) -> None:
        self._build = build
        self._kept = kept
        self._tasks: dict[Hashable, Task] = {}
        self._trained: dict[Hashable, Task] = {}
        self._answers: dict[Hashable, Answers] = {}

    def task(self, recipe: Recipe) -> Task:
        """The task of `recipe`; recipes that differ in their optimization alone share data and teacher."""
        key = _key(recipe)
        task = _recall(self._tasks, key, lambda: self._build(recipe), self._kept)
        # Kept as well, since it remembers what its teacher says of the test images.
        return _recall(
            self._trained,
            (key, recipe.optimization),
            lambda: dataclasses.replace(task, optimization=recipe.optimization),
            self._kept,
        )

    def answers(self, recipe: Recipe, task: Task, seeds: tuple[int, ...]) -> Answers:
        """The teacher of `task`, asked once for what students with these seeds see, however often they are trained."""
        key = _key(recipe), recipe.optimization.batch_size, seeds
        return _recall(self._answers, key, task.teacher.recorded, 1)


def _key(recipe: Recipe) -> Hashable:
    return tuple(repr(getattr(recipe, section)) for section in _DECIDES_A_TASK)


def _recall(known: dict[Hashable, Value], key: Hashable, make: Callable[[], Value], kept: int) -> Value:
    """The value of `key`, made if it is not among those `kept` that were last asked for."""
    known[key] = value = known.pop(key) if key in known else make()
    while len(known) > kept:
        known.pop(next(iter(known)))
    return value
