"""Units of an evaluation, done by any engine with equal results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rltemp.distillation import Task
from rltemp.distillation.teacher import Answers
from rltemp.experiments.engines import Engine, Failure, Leave, Workplace, refuse
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.units import Unit
from rltemp.progress import NoProgress, Progress
from rltemp.recipes import Recipe

__all__ = ["Worker", "run_units"]


class Worker:
    """Evaluates units on one task.

    Args:
        recipe: the setting.
        task: what it builds.
        display: advances by one per update.
    """

    def __init__(self, recipe: Recipe, task: Task, display: Progress) -> None:
        self._recipe, self._task, self._display = recipe, task, display
        self._seeds: tuple[int, ...] = ()
        self._teacher: Answers = task.teacher

    def run(self, unit: Unit) -> PolicyResult:
        """The result of `unit`."""
        self._display.describe(unit.spec.label)
        if unit.seeds != self._seeds:
            # Batches and augmentation follow from the seeds alone, so the teacher need be asked only once for them.
            self._teacher = self._task.teacher.recorded()
            self._seeds = unit.seeds
        return evaluate_policy(self._recipe, self._task, unit.spec, unit.seeds, self._teacher, self._display)


def run_units(
    recipe: Recipe,
    task: Task,
    units: Sequence[Unit],
    engine: Engine,
    root: str,
    display: Progress,
    leave: Leave,
) -> Iterator[tuple[Unit, PolicyResult]]:
    """Results of units, in the order in which they are finished.

    Args:
        recipe: the setting.
        task: what it builds.
        units: in this order they are begun.
        engine: does them; workers elsewhere build the task for themselves.
        root: folder of all runs, where they find the teacher.
        display: advances by `task.steps` per unit.
        leave: what the recipe may do.

    Raises:
        InputError: at the end, for units that failed.
    """
    failures: dict[str, Failure] = {}

    def prepare_here(_: Workplace) -> Callable[[Unit], PolicyResult]:
        return Worker(recipe, task, display).run

    with engine.team(prepare_here if engine.here else partial(_prepare, recipe), root, leave) as team:
        for unit, result in team.results(units):
            if not engine.here:
                display.describe(unit.spec.label)
                display.advance(task.steps)
            if isinstance(result, Failure):
                failures[f"{unit.spec.label} (students from seed {unit.seeds[0]})"] = result
            else:
                yield unit, result
    refuse(failures)


def _prepare(recipe: Recipe, place: Workplace) -> Callable[[Unit], PolicyResult]:
    """A worker elsewhere."""
    return Worker(recipe, place.build(recipe), NoProgress()).run
