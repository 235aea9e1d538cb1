"""How long an arena's work takes on this machine, from a few timed updates of each task."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from typing import Any, TypeVar

import torch

from rltemp.distillation import Task, score
from rltemp.distillation.policy_run import PolicyRun
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.work import Learn, Measure, Work
from rltemp.experiments.arena.workshop import read_recipe
from rltemp.experiments.engines import Leave
from rltemp.policies import make_policy
from rltemp.recipes import Recipe, change_recipe
from rltemp.tasks import build_task
from rltemp.tasks.sources import load_source

__all__ = ["estimate_seconds"]

Value = TypeVar("Value")

_WARM, _TIMED = 3, 10


def estimate_seconds(selection: Selection, works: Sequence[Work], leave: Leave) -> float:
    """Seconds of one process with one thread; rules that learn, and machines that do something else, take longer.

    Args:
        selection: the tasks, of which each is built, with a teacher of one epoch.
        works: what is to be done.
        leave: what recipes may do.
    """
    torch.set_num_threads(1)
    shares: dict[str, list[Work]] = {task: [] for task in selection.tasks}
    for work in works:
        features = _features(read_recipe(work.recipe))
        task = next(name for name, setting in selection.tasks.items() if _features(setting.recipe) == features)
        shares[task].append(work)
    return sum(
        _seconds_of_task(setting.recipe, shares[task], selection, leave) for task, setting in selection.tasks.items()
    )


def _features(recipe: Recipe) -> tuple[Any, ...]:
    """What no condition changes, and most tasks differ in."""
    data = recipe.data
    return data.name, data.path, data.image_size, recipe.teacher.network, recipe.student.name


def _seconds_of_task(recipe: Recipe, works: Sequence[Work], selection: Selection, leave: Leave) -> float:
    read = lru_cache(partial(load_source, allow_code=leave.allow_code))

    def build(epochs: int) -> Task:
        return build_task(change_recipe(recipe, {"teacher.epochs": epochs}), read=read, **asdict(leave))

    reading, _ = _timed(lambda: read(recipe.data))
    building, _ = _timed(lambda: build(0))
    with_epoch, task = _timed(lambda: build(1))
    loading, epoch = reading + building, max(0.0, with_epoch - building)
    side_by_side = selection.students if task.stacked else 1
    tuning = selection.tuning_students if task.stacked else 1
    update = {count: _seconds_of_update(recipe, task, count) for count in {side_by_side, tuning}}
    testing, _ = _timed(lambda: score(task.students(range(side_by_side)), task.test, task.augmentation))

    def seconds(work: Work) -> float:
        if isinstance(work, Learn):
            return loading + epoch * read_recipe(work.recipe).teacher.epochs
        if isinstance(work, Measure):
            return (work.updates * update[side_by_side] + work.runs * testing) / side_by_side
        return work.updates * update[tuning] / tuning

    return sum(map(seconds, works))


def _seconds_of_update(recipe: Recipe, task: Task, students: int) -> float:
    """Of all students together, under a static temperature."""
    run = PolicyRun(task, [make_policy("static")] * students, range(students), recipe.policy)

    def advance(updates: int) -> None:
        for _ in range(min(updates, task.steps - run.run.step)):
            run.advance()

    advance(_WARM)
    before = run.run.step
    seconds, _ = _timed(lambda: advance(_TIMED))
    return seconds / max(1, run.run.step - before)


def _timed(work: Callable[[], Value]) -> tuple[float, Value]:
    start = time.perf_counter()
    value = work()
    return time.perf_counter() - start, value
