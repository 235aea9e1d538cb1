"""Units of an evaluation, one after the other or in several processes, with equal results."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import torch

from rltemp.distillation import Task
from rltemp.distillation.teacher import Answers
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.results import PolicyResult
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
    """
    if min(processes, len(units)) <= 1:
        # As in the other processes: sums over several threads round otherwise.
        torch.set_num_threads(1)
        worker = Worker(recipe, task)
        for unit in units:
            display.describe(unit.spec.label)
            yield unit, worker.run(unit, display)
        return
    context = multiprocessing.get_context("spawn")
    started, devices = context.Value("i", 0), torch.cuda.device_count()
    arguments = (recipe, cache, started, devices, allow_download)
    pool = ProcessPoolExecutor(min(processes, len(units)), context, _start, arguments)
    try:
        futures = {pool.submit(_run, unit): unit for unit in units}
        for future in as_completed(futures):
            display.describe(futures[future].spec.label)
            display.advance(task.steps)
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


_worker: list[Worker] = []
"""The worker of this process, once it is started."""


def _start(recipe: Recipe, cache: str, started: Synchronized[Any], devices: int, allow_download: bool) -> None:
    torch.set_num_threads(1)
    with started.get_lock():
        number = started.value
        started.value += 1
    shared = recipe.execution.device == "cpu" or devices == 0
    device = None if shared else f"cuda:{number % devices}"
    _worker.append(Worker(recipe, build_task(recipe, device=device, cache=cache, allow_download=allow_download)))


def _run(unit: Unit) -> PolicyResult:
    return _worker[0].run(unit, NoProgress())
