"""Tables of `gpu`: how fast each way is, and what students reached under each arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.evaluation.statistics import mean_interval, paired_difference
from rltemp.experiments.report.sentences import signed
from rltemp.experiments.studies.gpu_speed import USUAL, Speed

__all__ = ["PUBLISHED", "VANILLA", "Outcome", "accuracy_table", "expectation", "speed_table"]

VANILLA = "vanilla KD"
PUBLISHED = {VANILLA: 70.66, "CTKD": 71.19, "LSKD": 71.43, "RLKD online": 71.40}
"""Test accuracy in percent as published, mostly of the best epoch on the test images."""


_CLOSE = 0.4
"""Points; the standard deviation of published runs of KD is 0.18 to 0.28."""


@dataclass(frozen=True)
class Outcome:
    """What one arm came to.

    Attributes:
        accuracy: on the test images after the last epoch, [S] in [0, 1]; NaN for a student that diverged.
        seconds: that its students took, side by side with those of other arms.
        images: that its students saw.
    """

    accuracy: FloatArray
    seconds: float
    images: int


def speed_table(speeds: Mapping[str, Speed]) -> str:
    """Images per second, as a ratio to the usual loop, and the phases of a step."""
    names = sorted({phase.name for speed in speeds.values() for phase in speed.phases})
    rows = [
        f"| | images/s | times the usual loop | {' | '.join(f'{name}, ms' for name in names)} |",
        f"|{'---|' * (3 + len(names))}",
    ]
    for name, speed in speeds.items():
        if speed.trouble:
            rows.append(f"| {name} | {speed.trouble} |{' |' * (1 + len(names))}")
            continue
        spent = {phase.name: phase.milliseconds for phase in speed.phases}
        cells = [f"{spent[phase]:.2f}" if phase in spent else "" for phase in names]
        rows.append(
            f"| {name} | {speed.images:,.0f} | {speed.images / speeds[USUAL].images:.2f} | {' | '.join(cells)} |"
        )
    return "\n".join(rows)


def accuracy_table(outcomes: Mapping[str, Outcome], published: Mapping[str, float]) -> str:
    """Accuracy after the last epoch, its paired difference to vanilla KD, the published one, and the time."""
    rows = [
        "| arm | accuracy, % | points over vanilla KD | published | students | seconds | images/s |",
        f"|{'---|' * 7}",
    ]
    for arm, outcome in outcomes.items():
        there = np.isfinite(outcome.accuracy)
        cells = [
            arm,
            _accuracy(outcome.accuracy[there]),
            "" if arm == VANILLA else _over(outcome.accuracy, outcomes[VANILLA].accuracy),
            f"{published[arm]:.2f}" if arm in published else "",
            f"{there.sum()}" if there.all() else f"{there.sum()}, {(~there).sum()} diverged",
            f"{outcome.seconds:,.0f}",
            f"{outcome.images / outcome.seconds:,.0f}" if outcome.seconds else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def expectation(outcomes: Mapping[str, Outcome], published: Mapping[str, float]) -> list[str]:
    """Whether vanilla KD is where it was published, in a sentence; none where nothing is published."""
    if VANILLA not in published:
        return []
    away = 100 * float(np.nanmean(outcomes[VANILLA].accuracy)) - published[VANILLA]
    verdict = "as expected" if abs(away) <= _CLOSE else "not as expected: look for the reason before anything else"
    return [
        f"Vanilla KD is {abs(away):.2f} points from the published {published[VANILLA]:.2f}, {verdict} (≤ {_CLOSE:g})."
    ]


def _accuracy(values: FloatArray) -> str:
    if len(values) < 2:
        return f"{100 * values.mean():.2f}" if len(values) else ""
    mean = mean_interval(values)
    return f"{100 * mean.mean:.2f} [{100 * mean.low:.2f}, {100 * mean.high:.2f}]"


def _over(accuracy: FloatArray, other: FloatArray) -> str:
    both = np.isfinite(accuracy) & np.isfinite(other)
    if both.sum() < 2:
        return "too few"
    difference = paired_difference(accuracy[both], other[both])
    return f"{signed(difference.mean)} [{signed(difference.low)}, {signed(difference.high)}]"
