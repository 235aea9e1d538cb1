"""Units of an evaluation, one after the other or in several processes, with equal results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from rltemp.distillation import Task
from rltemp.distillation.teacher import Answers
from rltemp.errors import InputError
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.sharing import share_out
from rltemp.experiments.evaluation.units import Unit
from rltemp.progress import NoProgress, Progress
from rltemp.recipes import Recipe
from rltemp.tasks import build_task

__all__ = ["Worker", "run_units"]


class Worker:
    """Evaluates units on one task.

    Args:
        recipe: the setting.
        task: what it builds.
    """

    def __init__(self, recipe: Recipe, task: Task) -> None:
        self._recipe = recipe
        self._task = task
        self._seeds: tuple[int, ...] = ()
        self._teacher: Answers = task.teacher

    def run(self, unit: Unit, display: Progress) -> PolicyResult:
        """The result of `unit`; `display` advances by one per update."""
        if unit.seeds != self._seeds:
            # Batches and augmentation follow from the seeds alone, so the teacher need be asked only once for them.
            self._teacher = self._task.teacher.recorded()
            self._seeds = unit.seeds
        return evaluate_policy(self._recipe, self._task, unit.spec, unit.seeds, self._teacher, display)


def run_units(
    recipe: Recipe,
    task: Task,
    units: Sequence[Unit],
    processes: int,
    cache: str,
    display: Progress,
    *,
    allow_download: bool = False,
    allow_code: bool = False,
) -> Iterator[tuple[Unit, PolicyResult]]:
    """Results of units, in the order in which they are finished.

    Args:
        recipe: the setting.
        task: what it builds.
        units: in this order they are begun.
        processes: how many work side by side, each with one thread; each builds the task for itself.
        cache: where the other processes find the teacher.
        display: advances by `task.steps` per unit.
        allow_download: as for `build_task`.
        allow_code: as for `build_task`.

    Raises:
        InputError: at the end, for units that two processes died of.
    """
    if processes == 1:
        # As in the other processes: sums over several threads round otherwise.
        torch.set_num_threads(1)
        worker = Worker(recipe, task)
        for unit in units:
            display.describe(unit.spec.label)
            yield unit, worker.run(unit, display)
        return
    lost: list[Unit] = []
    prepare = partial(_prepare, recipe, cache, torch.cuda.device_count(), allow_download, allow_code)
    for unit, result in share_out(prepare, units, processes):
        display.describe(unit.spec.label)
        display.advance(task.steps)
        if result is None:
            lost.append(unit)
        else:
            yield unit, result
    if lost:
        named = ", ".join(f"{unit.spec.label} (students from seed {unit.seeds[0]})" for unit in lost)
        raise InputError(
            f"two processes each died of {named}, perhaps for want of memory; the rest is kept, and the same command "
            "tries again what is missing"
        )


def _prepare(
    recipe: Recipe, cache: str, devices: int, allow_download: bool, allow_code: bool, number: int
) -> Callable[[Unit], PolicyResult]:
    """A worker of another process, on a device of its own if there are several."""
    torch.set_num_threads(1)
    shared = recipe.execution.device == "cpu" or devices == 0
    device = None if shared else f"cuda:{number % devices}"
    task = build_task(recipe, device=device, cache=cache, allow_download=allow_download, allow_code=allow_code)
    worker = Worker(recipe, task)
    return lambda unit: worker.run(unit, NoProgress())
