"""An evaluation judged: every policy against the best static temperature and the best schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import Evaluation, Family, FloatArray, PolicyResult
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.experiments.evaluation.statistics import (
    Difference,
    choose_best,
    crossed_difference,
    holm,
    mean_interval,
    paired_difference,
)

__all__ = ["Comparison", "Row", "Verdict", "compare"]

Verdict = Literal["better", "worse", "unclear", "diverged", "reference", ""]
"""How a policy stands to the best static temperature; "" where there is none to compare with."""

ORDER: tuple[Family, ...] = ("trained", "schedule", "static", "rule", "control")


@dataclass(frozen=True)
class Row:
    """One method: a policy, or several trainings of one.

    Attributes:
        label: what people call it.
        family: what kind of policy it is.
        members: its trainings; one for everything but a group.
        accuracy: test accuracy with its interval, in [0, 1].
        nll: mean test cross-entropy in nats.
        calibration_error: mean expected calibration error on the test images, in [0, 1].
        agreement: mean share of the test images on which student and teacher predict the same class, in [0, 1]; NaN
            where it was not measured.
        divergence: mean KL(teacher || student) on the test images in nats, likewise.
        diverged: how many students did, over all members; the row then is compared with nothing.
        versus_static: accuracy above the best static temperature; None for that one itself, or if there is none.
        versus_schedule: accuracy above the best schedule; None for that one itself, or if there is none.
        verdict: whether `versus_static` shows a difference.
        schedule_verdict: the same for `versus_schedule`.
    """

    label: str
    family: Family
    members: tuple[PolicyResult, ...]
    accuracy: Difference
    nll: float
    calibration_error: float
    agreement: float
    divergence: float
    diverged: int
    versus_static: Difference | None
    versus_schedule: Difference | None
    verdict: Verdict
    schedule_verdict: Verdict

    @property
    def students(self) -> int:
        """Over all members."""
        return sum(len(member.accuracy) for member in self.members)


@dataclass(frozen=True)
class Comparison:
    """What an evaluation shows; `rltemp.experiments.report.sentences` says it in English.

    Attributes:
        evaluation: what was judged.
        confidence: coverage of every interval.
        rows: one per method: trained policies first, then schedules, static temperatures, rules, controls.
        best_static: the static temperature chosen on validation data.
        best_schedule: the schedule chosen on validation data.
        tuning_runs: student runs that each tuned reference took; 0 where the references are not those that were tuned.
    """

    evaluation: Evaluation
    confidence: float
    rows: tuple[Row, ...]
    best_static: PolicyResult | None
    best_schedule: PolicyResult | None
    tuning_runs: int


def compare(evaluation: Evaluation, confidence: float = 0.95) -> Comparison:
    """Judge every policy of an evaluation.

    The references are chosen on validation data, among policies under which no student diverged. Learned policies are
    what is tested, so Holm's correction runs over them, and over all other policies apart.

    Args:
        evaluation: what was measured.
        confidence: coverage of every interval; a difference is shown at level 1 - confidence.
    """
    best_static, best_schedule = _best(evaluation, "static"), _best(evaluation, "schedule")
    groups = sorted(evaluation.groups().items(), key=lambda item: ORDER.index(item[1][0].family))
    families = [members[0].family for _, members in groups]
    static = [_versus(members, best_static, confidence) for _, members in groups]
    schedule = [_versus(members, best_schedule, confidence) for _, members in groups]
    diverged = [sum(member.diverged for member in members) for _, members in groups]
    verdicts = _verdicts(static, families, diverged, best_static is not None, confidence)
    schedule_verdicts = _verdicts(schedule, families, diverged, best_schedule is not None, confidence)
    rows = tuple(
        Row(
            label=_label(name, members),
            family=families[i],
            members=members,
            accuracy=_mean(members, confidence),
            nll=float(np.mean([member.nll for member in members])),
            calibration_error=float(np.mean([member.calibration_error for member in members])),
            agreement=float(np.mean([member.agreement for member in members])),
            divergence=float(np.mean([member.divergence for member in members])),
            diverged=diverged[i],
            versus_static=static[i],
            versus_schedule=schedule[i],
            verdict=verdicts[i],
            schedule_verdict=schedule_verdicts[i],
        )
        for i, (name, members) in enumerate(groups)
    )
    return Comparison(
        evaluation=evaluation,
        confidence=confidence,
        rows=rows,
        best_static=best_static,
        best_schedule=best_schedule,
        tuning_runs=_tuning_runs(evaluation, best_static, best_schedule),
    )


def _tuning_runs(evaluation: Evaluation, *chosen: PolicyResult | None) -> int:
    tuned = evaluation.setting.get("references", {})  # evaluations of before have none
    names = {result.name for result in chosen if result is not None}
    try:
        found = {spec.name for text in tuned.get("policies", ()) for spec in parse_policies(text)}
    except InputError:  # a recipe may name what is gone, while others were evaluated
        return 0
    return int(tuned["runs"]) if names and names <= found else 0


def _best(evaluation: Evaluation, family: Family) -> PolicyResult | None:
    candidates = [result for result in evaluation.family(family) if not result.diverged]
    return choose_best(candidates) if candidates else None


def _label(name: str, members: tuple[PolicyResult, ...]) -> str:
    return members[0].label if members[0].group is None else name


def _accuracy(members: tuple[PolicyResult, ...]) -> FloatArray:
    return np.stack([member.accuracy for member in members])


def _mean(members: tuple[PolicyResult, ...], confidence: float) -> Difference:
    accuracy = _accuracy(members)
    if len(members) == 1:
        return mean_interval(accuracy[0], confidence)
    return crossed_difference(accuracy, np.zeros(accuracy.shape[1]), confidence)


def _versus(members: tuple[PolicyResult, ...], reference: PolicyResult | None, confidence: float) -> Difference | None:
    if reference is None or reference in members or any(member.diverged for member in members):
        return None
    if len(members) == 1:
        return paired_difference(members[0].accuracy, reference.accuracy, confidence)
    return crossed_difference(_accuracy(members), reference.accuracy, confidence)


def _verdicts(
    differences: list[Difference | None],
    families: list[Family],
    diverged: list[int],
    has_reference: bool,
    confidence: float,
) -> list[Verdict]:
    verdicts: list[Verdict] = ["diverged" if count else "reference" if has_reference else "" for count in diverged]
    for learned in (True, False):
        tested = [
            (i, difference)
            for i, (difference, family) in enumerate(zip(differences, families, strict=True))
            if difference is not None and (family == "trained") == learned
        ]
        adjusted = holm([difference.p for _, difference in tested])
        for (i, difference), p in zip(tested, adjusted, strict=True):
            verdicts[i] = "unclear" if p >= 1 - confidence else "better" if difference.mean > 0 else "worse"
    return verdicts
