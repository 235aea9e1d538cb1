"""From measurements to a judged cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rltemp.errors import InputError
from rltemp.experiments.arena.entries import Entry
from rltemp.experiments.arena.freshness import cut_alike, runs_spent_on, shared_images, training_recipes, training_runs
from rltemp.experiments.arena.judge import judge
from rltemp.experiments.arena.outcome import CellOutcome, Line
from rltemp.experiments.arena.plan import CellPlan, Planned, Results, others_of
from rltemp.experiments.evaluation.measure import Measure, to_bits
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.results_files import restore_result
from rltemp.experiments.evaluation.statistics import Difference
from rltemp.experiments.tuning.search import Trial
from rltemp.policies.artifact import load_policy
from rltemp.policies.learned import LearnedPolicy

__all__ = ["judge_cell"]

_UNKNOWN = "its card does not say what it was trained on"
_CUT_OTHERWISE = "it was trained on the same text in other windows, which cannot be compared"


def judge_cell(plan: CellPlan, plans: Sequence[CellPlan], results: Results) -> CellOutcome:
    """The lines of a cell.

    Args:
        plan: of the cell, all of whose work is done.
        plans: of all cells.
        results: of finished work.
    """
    described = results(plan.learn)
    planned = plan.measures(others_of(plan, plans))
    entries = [_entry(list(group), plan, results) for _, group in groupby(planned, key=lambda one: one.method)]
    updates = plan.tuning.updates // plan.tuning.runs
    least = plan.selection.least(described["stacked"] and plan.measure == "accuracy")
    return CellOutcome(
        cell=plan.cell,
        updates=updates,
        students=plan.selection.students,
        recipe=_in_words(plan.found(plan.tuning).best),
        lines=(_teacher_line(described, plan.measure), *judge(entries, least=least, measure=plan.measure)),
        measure=plan.measure,
    )


def _entry(group: Sequence[Planned], plan: CellPlan, results: Results) -> Entry:
    """One method; a group of several trainings is one method."""
    first = group[0]
    measured = [results(planned.work) for planned in group]
    objections: dict[str, None] = {}
    runs = [first.tuning_runs]
    for planned, result in zip(group, measured, strict=True):
        if result["reads_held_out_labels"]:
            objections["it reads labels of validation or test images"] = None
        if first.kind == "trained":
            policy = load_policy(planned.work.policy)
            objections |= dict.fromkeys(_objections(policy, plan, results))
            runs.append(runs_spent_on(policy, plan.recipe))
    return Entry(
        method=first.method,
        setting=first.spec.label if first.kind not in ("trained", "preset", "bound") else "",
        kind=first.kind,
        results=tuple(_result(result) for result in measured),
        passes=first.passes,
        updates=first.work.updates // first.work.runs,
        tuning_runs=max(runs),
        reads_probe=first.reads_probe,
        objections=tuple(objections),
    )


def _objections(policy: LearnedPolicy, plan: CellPlan, results: Results) -> list[str]:
    """Whether it was trained on images that it is judged on, as far as its card says."""
    recipes = training_recipes(policy)
    if recipes is None or training_runs(policy) is None:
        return [_UNKNOWN]
    if not all(cut_alike(recipe, plan.recipe) for recipe in recipes):
        return [_CUT_OTHERWISE]
    source = results(plan.learn)
    try:
        shared = max(shared_images(recipe, plan.recipe, source) for recipe in recipes)
    except InputError:
        return ["its card names more images than there are"]
    return [f"it was trained on {shared} of the images of this task"] if shared else []


def _result(values: dict[str, Any]) -> PolicyResult:
    return restore_result({name: value for name, value in values.items() if name != "reads_held_out_labels"})


def _teacher_line(described: dict[str, Any], measure: Measure) -> Line:
    """The teacher is one network, so that its accuracy has no interval."""
    accuracy, bits = described["accuracy"], to_bits(described["nll"])
    return Line(
        method="the teacher",
        setting=f"spread {described['spread']:.2g}",
        kind="bound",
        accuracy=Difference(accuracy, accuracy, accuracy, 1, 1.0),
        nll=described["nll"],
        calibration_error=described["calibration_error"],
        agreement=1.0,
        divergence=0.0,
        passes=0.0,
        overhead=0.0,
        tuning_runs=0,
        regret=None,
        regret_nll=0.0,
        ruling="",
        bits=Difference(bits, bits, bits, 1, 1.0) if measure == "bits" else None,
    )


def _in_words(best: Trial) -> str:
    changes = best.changes
    words = f"learning rate {changes['optimization.lr']:g}, weight of the labels {changes['optimization.ce_weight']:g}"
    if "optimization.features_weight" in changes:
        words += f", {changes['optimization.features_weight']:g} times the published weight of the features"
    if "data.shift" in changes:
        words += ", no augmentation"
    return f"{words} (tuned at T = 4)"
