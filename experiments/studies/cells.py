"""Cells of the arena, for studies that judge any policy there, on the students that it measures."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rltemp.experiments.arena.outcome import Cell, CellOutcome
from rltemp.experiments.arena.plan import CellPlan, Results, others_of
from rltemp.experiments.arena.run import run_alone
from rltemp.experiments.arena.selection import Selection, find_tasks
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.work import FIRST_MEASURED
from rltemp.experiments.commands.arena_options import STUDENTS, TRIALS, TUNING_STUDENTS
from rltemp.experiments.engines import Here, Leave
from rltemp.experiments.evaluation.results import FloatArray, PolicyResult
from rltemp.experiments.evaluation.results_files import restore_result
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.evaluation.statistics import Difference, mean_interval, paired_difference
from rltemp.experiments.named_recipe import NamedRecipe, build
from rltemp.experiments.report.sentences import gained
from rltemp.experiments.studies.changed import accuracy
from rltemp.experiments.studies.general import CONDITIONS as FIRST_CONDITIONS
from rltemp.experiments.studies.general import JUDGED_ON
from rltemp.policies import TemperaturePolicy
from rltemp.recipes import Recipe

__all__ = ["MeasuredCell", "TunedCell", "add_cells", "compare", "measured_cells", "tuned_cells", "tuned_recipe"]

CONDITIONS = (*FIRST_CONDITIONS, "noise60", "junk", "few", "small")


class TunedCell(NamedTuple):
    """A task under a condition.

    Attributes:
        name: both of them.
        recipe: that was tuned there.
        root: folder of all runs.
    """

    name: str
    recipe: Recipe
    root: str

    def accuracies(self, policies: Sequence[TemperaturePolicy], weights: Mapping[str, float]) -> list[FloatArray]:
        """Test accuracies [S] in [0, 1] of the students that the arena measures, under each policy.

        Args:
            policies: the same students for each.
            weights: of the loss, as a policy's own.
        """
        task = build(NamedRecipe("cells", self.recipe), self.root)
        teacher, seeds = task.teacher.recorded(), range(FIRST_MEASURED, FIRST_MEASURED + STUDENTS)
        return [accuracy(self.recipe, task, policy, seeds, teacher, weights) for policy in policies]


class MeasuredCell(NamedTuple):
    """What the arena measured of a task under a condition.

    Attributes:
        cell: both of them, and the length.
        results: by method, on the same students.
        reference: the method, of those tuned there, that validation images prefer.
    """

    cell: Cell
    results: Mapping[str, PolicyResult]
    reference: str


def add_cells(parser: argparse.ArgumentParser) -> None:
    """The options that `tuned_cells` reads."""
    parser.add_argument("--tasks", default=",".join(JUDGED_ON), help="of the arena (default: %(default)s)")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="of the arena (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=1, help="multiple of the updates (default: %(default)s)")
    parser.add_argument("--data", default="data", help="folder of the arena's data (default: %(default)s)")
    parser.add_argument("--runs", default="runs", help="folder of all runs (default: %(default)s)")


def tuned_cells(options: argparse.Namespace) -> Iterator[TunedCell]:
    """All tasks under all conditions, after the arena's search; what is finished in its folder is found.

    Raises:
        InputError: as the arena.
    """
    selection, store, _ = _judge(options)
    for cell in selection.cells:
        yield TunedCell(f"{cell.task}, {cell.condition}", tuned_recipe(selection, cell, store), options.runs)


def measured_cells(options: argparse.Namespace, trained: Sequence[PolicySpec]) -> list[MeasuredCell]:
    """What the arena measured in all cells, of policies and of its own controls; what is finished there is found.

    Raises:
        InputError: as the arena.
    """
    selection, store, outcomes = _judge(options, trained)
    results = _kept(store)
    plans = [CellPlan(selection, cell, results) for cell in selection.cells]
    return [_measured(plan, plans, results, outcome) for plan, outcome in zip(plans, outcomes, strict=True)]


def _measured(plan: CellPlan, plans: Sequence[CellPlan], results: Results, outcome: CellOutcome) -> MeasuredCell:
    measured = {one.method: restore_result(results(one.work)) for one in plan.measures(others_of(plan, plans))}
    # The arena's own choice: the reference that others are behind or ahead of, and that has no regret itself.
    reference = next(line.method for line in outcome.lines if line.kind == "reference" and line.regret is None)
    return MeasuredCell(plan.cell, measured, reference)


def _kept(store: ResultStore) -> Results:
    """Results in a store, each read once."""
    return cache(lambda work: store.find(work.key) or {})


def _judge(
    options: argparse.Namespace, trained: Sequence[PolicySpec] = ()
) -> tuple[Selection, ResultStore, list[CellOutcome]]:
    """The arena of `options`, all of whose work is done, where its results are, and its judgement of every cell."""
    selection = Selection(
        tasks=find_tasks(options.tasks.split(","), options.data, allow_download=False, allow_code=False),
        conditions=tuple(options.conditions.split(",")),
        budgets=(options.budget,),
        methods=(),
        trained=tuple(trained),
        students=STUDENTS,
        trials=TRIALS,
        tuning_students=TUNING_STUDENTS,
    )
    store = ResultStore(Path(options.runs, "arena", "work"))
    return selection, store, run_alone(selection, options.runs, store, Here(), Leave())


def tuned_recipe(selection: Selection, cell: Cell, store: ResultStore) -> Recipe:
    """The recipe that the arena's search, which is in `store`, settled on in a cell."""
    return CellPlan(selection, cell, _kept(store)).frozen


def compare(
    policies: Mapping[str, TemperaturePolicy], weights: Mapping[str, float], cells: Iterable[TunedCell]
) -> None:
    """Print a Markdown table of test accuracies: the first policy's, and what others gain over it, in points.

    Args:
        policies: by their names.
        weights: of the loss, for all of them.
        cells: one row each; below them is the mean of what is gained, with an interval over the cells.
    """
    gaps: dict[str, list[Difference]] = {name: [] for name in list(policies)[1:]}
    print(f"| | {' | '.join(policies)} |\n|{'---|' * (len(policies) + 1)}")
    for cell in cells:
        whole, *each = cell.accuracies(list(policies.values()), weights)
        for found, accuracies in zip(gaps.values(), each, strict=True):
            found.append(paired_difference(accuracies, whole))
        row = [cell.name, f"{100 * whole.mean():.1f}", *(gained(found[-1]) for found in gaps.values())]
        print(f"| {' | '.join(row)} |", flush=True)
    if all(len(found) > 1 for found in gaps.values()):
        means = [mean_interval(np.array([gap.mean for gap in found])) for found in gaps.values()]
        print(f"| mean of the cells | | {' | '.join(map(gained, means))} |")
