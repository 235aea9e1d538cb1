"""Detectors compared: every policy against the best static temperature and the best schedule, paired by student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rltemp.experiments.detection.precision import Precision
from rltemp.experiments.evaluation.comparison import ORDER, Verdict
from rltemp.experiments.evaluation.results import Family, FloatArray
from rltemp.experiments.evaluation.statistics import Difference, holm, mean_interval, paired_difference
from rltemp.experiments.report.sentences import signed
from rltemp.markdown import escape_markdown

__all__ = ["DetectionResult", "DetectionRow", "judge", "table"]

_DASH = "\N{EN DASH}"


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """A policy on S students.

    Attributes:
        label: what people call it.
        family: what kind of policy it is.
        ap: average precision on the test images, [S] in [0, 1]; NaN of a student that diverged.
        ap50: likewise, at an overlap of 0.50.
        validation_ap: average precision on the validation images, by which references are chosen.
        diverged: how many students did.
    """

    label: str
    family: Family
    ap: FloatArray
    ap50: FloatArray
    validation_ap: FloatArray
    diverged: int = 0


@dataclass(frozen=True, eq=False)
class DetectionRow:
    """A policy, judged.

    Attributes:
        result: what was measured.
        versus_static: AP above the best static temperature; None for that one itself, or where students diverged.
        versus_schedule: likewise above the best schedule.
        verdict: whether `versus_static` shows a difference.
    """

    result: DetectionResult
    versus_static: Difference | None
    versus_schedule: Difference | None
    verdict: Verdict


def judge(results: Sequence[DetectionResult], confidence: float = 0.95) -> list[DetectionRow]:
    """Judge policies, in the order trained, schedule, static, rule, control.

    References are chosen on validation data, among those under which no student diverged. Holm's correction runs over
    trained policies, and over all others apart.

    Args:
        results: of S >= 2 students each, the same ones.
        confidence: coverage of every interval; a difference is shown at level 1 - confidence.
    """
    ordered = sorted(results, key=lambda result: ORDER.index(result.family))
    static, schedule = best(results, "static"), best(results, "schedule")
    versus = [_versus(result, static, confidence) for result in ordered]
    verdicts = _verdicts(ordered, versus, static, confidence)
    return [
        DetectionRow(result, gap, _versus(result, schedule, confidence), verdict)
        for result, gap, verdict in zip(ordered, versus, verdicts, strict=True)
    ]


def best(results: Sequence[DetectionResult], family: Family) -> DetectionResult | None:
    """The member of a family with the best AP on validation images; None if there is none without divergence."""
    candidates = [result for result in results if result.family == family and not result.diverged]
    return max(candidates, key=lambda result: float(result.validation_ap.mean()), default=None)


def table(rows: Sequence[DetectionRow], teacher: Precision) -> str:
    """The comparison in GitHub's Markdown, in percent and points with 95 % intervals, the teacher last."""
    results = [row.result for row in rows]
    static, schedule = best(results, "static"), best(results, "schedule")
    header = ["Policy", "AP50, %", "AP, %"]
    header += [f"AP vs {reference.label}" for reference in (static, schedule) if reference is not None]
    lines = [[*header, "Verdict"], [":--", *["--:"] * (len(header) - 1), ":--"]]
    for row in rows:
        gaps = [row.versus_static] * (static is not None) + [row.versus_schedule] * (schedule is not None)
        lines.append([row.result.label, *_scores(row.result), *map(_gap, gaps), _verdict(row)])
    bound = [f"{100 * teacher.ap50:.1f}", f"{100 * teacher.ap:.1f}"]
    lines.append(["the teacher", *bound, *[_DASH] * (len(header) - 3), ""])
    return "".join(f"| {' | '.join([escape_markdown(line[0]), *line[1:]])} |\n" for line in lines)


def _versus(result: DetectionResult, reference: DetectionResult | None, confidence: float) -> Difference | None:
    if reference is None or result is reference or result.diverged:
        return None
    return paired_difference(result.ap, reference.ap, confidence)


def _verdicts(
    results: Sequence[DetectionResult],
    versus: Sequence[Difference | None],
    static: DetectionResult | None,
    confidence: float,
) -> list[Verdict]:
    verdicts: list[Verdict] = [
        "diverged" if result.diverged else "reference" if result is static else "" for result in results
    ]
    for trained in (True, False):
        tested = [
            (index, gap)
            for index, (result, gap) in enumerate(zip(results, versus, strict=True))
            if gap is not None and (result.family == "trained") == trained
        ]
        for (index, gap), p in zip(tested, holm([gap.p for _, gap in tested]), strict=True):
            verdicts[index] = "unclear" if p >= 1 - confidence else "better" if gap.mean > 0 else "worse"
    return verdicts


def _scores(result: DetectionResult) -> list[str]:
    if result.diverged:
        return [_DASH, _DASH]
    return [_score(result.ap50), _score(result.ap)]


def _score(values: FloatArray) -> str:
    interval = mean_interval(values)
    return f"{100 * interval.mean:.1f} ± {100 * _half(interval):.1f}"


def _gap(difference: Difference | None) -> str:
    return _DASH if difference is None else f"{signed(difference.mean, 1)} ± {100 * _half(difference):.1f}"


def _half(interval: Difference) -> float:
    return (interval.high - interval.low) / 2


def _verdict(row: DetectionRow) -> str:
    count = len(row.result.ap)
    return f"diverged ({row.result.diverged} of {count})" if row.result.diverged else row.verdict
