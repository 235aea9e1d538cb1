"""The ruling on every method of a cell: better only if it is better than all its matched controls, fairly compared.

Matched controls of a method are the references, which must have been tuned with as many student runs as it took, on as
many updates; where it reads the probe, the control that reads the same images; and where it makes more passes, a
reference with as many. Where one is missing, the ruling is withheld.

A student that diverged still has an accuracy, but no bits per character that a mean could be taken of. Where bits are
judged, a control with such a student is behind every method without, and nothing is compared with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rltemp.experiments.arena.entries import Entry
from rltemp.experiments.arena.outcome import Line, Ruling
from rltemp.experiments.evaluation.measure import Measure, scores_on_test
from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.evaluation.statistics import (
    Difference,
    crossed_difference,
    holm,
    mean_interval,
    paired_difference,
)

__all__ = ["LEAST_STUDENTS", "judge"]

LEAST_STUDENTS = {True: 32, False: 8}
"""Paired students behind a ruling, by whether they stack: where they do, more cost little. Of texts, whose students are
scored on thousands of characters each, it is the smaller number."""

_LEVEL = 0.05
_EQUAL_COMPUTE = 0.95
"""Share of a method's passes that its control must make at least; whole epochs are not divided."""

_CONTENDERS = ("single", "rule", "preset", "trained")


def judge(entries: Sequence[Entry], *, least: int, measure: Measure = "accuracy") -> list[Line]:
    """A line per entry, in their order.

    Args:
        entries: of one cell, references and controls among them.
        least: paired students that a ruling asks for.
        measure: what is judged.
    """
    references = [entry for entry in entries if entry.kind == "reference" and _stands(entry, measure)]
    best = max(references, key=lambda entry: entry.validation_score(measure)) if references else None
    matched = {id(entry): _match(entry, entries, least, measure) for entry in entries if entry.kind in _CONTENDERS}
    rulings: dict[int, tuple[Ruling, tuple[str, ...]]] = {}
    for family in (("trained",), ("single", "rule", "preset")):
        tested = [entry for entry in entries if entry.kind in family]
        rulings |= _rule([(entry, *matched[id(entry)]) for entry in tested], measure)
    return [_line(entry, best, measure, *rulings.get(id(entry), ("", ()))) for entry in entries]


def _match(entry: Entry, entries: Sequence[Entry], least: int, measure: Measure) -> tuple[list[Entry], list[str]]:
    """The matched controls of an entry, and why a ruling on it must be withheld."""
    references = [other for other in entries if other.kind == "reference"]
    missing = list(entry.objections)
    if not references or any(reference.tuning_runs == 0 for reference in references):
        missing.append("its references are not tuned")
    elif (fewest := min(reference.tuning_runs for reference in references)) < entry.tuning_runs:
        missing.append(f"it took {entry.tuning_runs} student runs, tuning its references {fewest}")
    elif not any(_stands(reference, measure) for reference in references):
        missing.append("students of all its references diverged")
    students = min(len(result.accuracy) for result in entry.results)
    if students < least:
        missing.append(f"{students} students are fewer than {least}")
    controls = list(references)
    if entry.reads_probe:
        informed = [other for other in entries if other.kind == "control" and other.reads_probe]
        controls += informed
        if not informed:
            missing.append("no control has the images of its probe")
    if references and entry.compute > min(reference.compute for reference in references) / _EQUAL_COMPUTE:
        longer = [
            other for other in entries if other.kind == "control" and other.compute >= _EQUAL_COMPUTE * entry.compute
        ]
        # Of those that may be chosen between, the one that validation data prefer.
        uninformed = [other for other in longer if not other.reads_probe]
        controls += sorted(uninformed, key=lambda other: -other.validation_score(measure))[:1]
        if not uninformed:
            missing.append(f"it makes {entry.compute / references[0].compute:.1f} times the passes of its references")
    return controls, missing


def _rule(
    tested: Sequence[tuple[Entry, list[Entry], list[str]]], measure: Measure
) -> dict[int, tuple[Ruling, tuple[str, ...]]]:
    """Rulings by identity of the entry; Holm's correction runs over all comparisons of these entries."""
    rulings: dict[int, tuple[Ruling, tuple[str, ...]]] = {}
    pairs: list[tuple[Entry, Entry, Difference]] = []
    for entry, controls, missing in tested:
        if entry.diverged:
            rulings[id(entry)] = "diverged", ()
        elif missing:
            rulings[id(entry)] = "withheld", tuple(missing)
        else:
            there = [control for control in controls if _stands(control, measure)]
            pairs += [(entry, control, _difference(entry, control, measure)) for control in there]
    shown: dict[int, list[tuple[Entry, Difference, bool]]] = {}
    for (entry, control, gap), p in zip(pairs, holm([gap.p for *_, gap in pairs]), strict=True):
        shown.setdefault(id(entry), []).append((control, gap, p < _LEVEL))
    for identity, comparisons in shown.items():
        rulings[identity] = _verdict(comparisons)
    return rulings


def _verdict(comparisons: Sequence[tuple[Entry, Difference, bool]]) -> tuple[Ruling, tuple[str, ...]]:
    if all(clear and gap.mean > 0 for _, gap, clear in comparisons):
        return "better", ()
    worse = [control.method for control, gap, clear in comparisons if clear and gap.mean < 0]
    if worse:
        return "worse", tuple(f"worse than {name}" for name in worse)
    open_ = [control.method for control, gap, clear in comparisons if not (clear and gap.mean > 0)]
    return "not better", tuple(f"not clearly better than {name}" for name in open_)


def _stands(entry: Entry, measure: Measure) -> bool:
    """Whether what is judged of all its students is a number that means something."""
    return measure == "accuracy" or not entry.diverged


def _difference(entry: Entry, other: Entry, measure: Measure) -> Difference:
    """What is judged of `entry` above that of `other`, which is one training."""
    ours, (theirs,) = scores_on_test(measure, entry.results), scores_on_test(measure, other.results)
    return paired_difference(ours[0], theirs) if len(ours) == 1 else crossed_difference(ours, theirs)


def _mean(values: FloatArray) -> Difference:
    """Mean of values [trainings, S] with its interval."""
    return mean_interval(values[0]) if len(values) == 1 else crossed_difference(values, np.zeros(values.shape[1]))


def _line(entry: Entry, best: Entry | None, measure: Measure, ruling: Ruling, reasons: tuple[str, ...]) -> Line:
    def mean(metric: str) -> float:
        return float(np.mean([getattr(result, metric) for result in entry.results]))

    regret, regret_nll, stands = None, 0.0, _stands(entry, measure)
    endless = Difference(math.inf, math.inf, math.inf, len(entry.results[0].nll), math.nan, len(entry.results))
    if best is not None and entry is not best:
        gap = _difference(entry, best, measure) if stands else None
        regret = endless if gap is None else -gap
        regret_nll = mean("nll") - float(best.results[0].nll.mean())
    return Line(
        method=entry.method,
        setting=entry.setting,
        kind=entry.kind,
        accuracy=_mean(scores_on_test("accuracy", entry.results)),
        nll=mean("nll"),
        calibration_error=mean("calibration_error"),
        agreement=mean("agreement"),
        divergence=mean("divergence"),
        passes=entry.passes.total,
        overhead=entry.passes.overhead,
        tuning_runs=entry.tuning_runs,
        regret=regret,
        regret_nll=regret_nll,
        ruling=ruling,
        reasons=reasons,
        bits=None if measure != "bits" else _mean(-scores_on_test("bits", entry.results)) if stands else endless,
    )
