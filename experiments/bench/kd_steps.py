"""The bare distillation that other things are measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from rltemp.distillation.run import DistillationRun
from rltemp.distillation.task import Task
from rltemp.distillation.teacher import Answers
from rltemp.recipes import Recipe, load_recipe
from rltemp.temperatures import Temperatures

__all__ = ["default_recipe", "kd_steps"]


def default_recipe() -> Recipe:
    """`digits-short` with a teacher trained for one epoch: how good it is makes no difference to the clock."""
    return load_recipe("digits-short", {"teacher": {"epochs": 1}})


def kd_steps(task: Task, seeds: Sequence[int], teacher: Answers | None = None) -> Callable[[], None]:
    """One KD update of the students with these seeds at T = 4 per call, of one run after the other."""
    stream = _updates(task, seeds, teacher)
    return lambda: next(stream)


def _updates(task: Task, seeds: Sequence[int], teacher: Answers | None) -> Iterator[None]:
    temperatures = Temperatures.shared(torch.full((len(seeds) * task.instances,), 4.0))
    while True:
        run = DistillationRun(task, seeds, teacher=teacher)
        while not run.finished:
            run.update(temperatures)
            yield
