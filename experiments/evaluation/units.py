"""What an evaluation consists of: a policy on a few of the students, finished and kept one by one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rltemp.experiments.evaluation.results import FIDELITY, METRICS, FloatArray, PolicyResult, TemperatureTrace
from rltemp.experiments.evaluation.results_files import DAMAGE, describe_result, restore_result
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.files import atomic_write
from rltemp.reading import read_text

__all__ = ["Unit", "UnitStore", "cut", "merge", "side_by_side"]


@dataclasses.dataclass(frozen=True)
class Unit:
    """One policy on students that run side by side."""

    spec: PolicySpec
    seeds: tuple[int, ...]


def cut(specs: Sequence[PolicySpec], seeds: Sequence[int], stacked: bool) -> list[Unit]:
    """Units of an evaluation: all students at once where they stack, each alone where not.

    The policies of the same students follow one another, so that what is known of these students can be used again.
    """
    return [Unit(spec, group) for group in side_by_side(seeds, stacked) for spec in specs]


def side_by_side(seeds: Sequence[int], stacked: bool) -> list[tuple[int, ...]]:
    """Seeds of students that run together: all of them where they stack, each alone where not."""
    return [tuple(seeds)] if stacked else [(seed,) for seed in seeds]


def merge(results: Sequence[PolicyResult]) -> PolicyResult:
    """One result out of those of a policy's students, in their order.

    Quantiles of the temperature become their mean over the units; of the sampled instances every n-th is kept, as many
    as one unit has. How far students follow their teacher is known of all of them or of none. The first
    trouble is kept.
    """
    first = results[0]
    if len(results) == 1:
        return first
    metrics: dict[str, Any] = {
        metric: np.concatenate([getattr(result, metric) for result in results]) for metric in METRICS
    }
    for metric in FIDELITY:
        # Units that an earlier version kept lack it.
        if bool(np.isnan(metrics[metric]).any()):
            metrics[metric] = np.full_like(metrics[metric], np.nan)
    traces = [result.trace for result in results if result.trace is not None]
    trouble = next((result.trouble for result in results if result.trouble), "")
    return dataclasses.replace(first, **metrics, trace=_merge_traces(traces) if traces else None, trouble=trouble)


class UnitStore:
    """Results of units on disk, from which an interrupted evaluation goes on.

    Args:
        folder: made when the first result is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, unit: Unit, result: PolicyResult) -> None:
        """Write the result of `unit`."""
        self._folder.mkdir(exist_ok=True)
        atomic_write(self._path(unit), json.dumps(describe_result(result)))

    def find(self, unit: Unit) -> PolicyResult | None:
        """The result of `unit`; None if there is none, or none that can be read."""
        try:
            result = restore_result(json.loads(read_text(self._path(unit))))
        except DAMAGE:
            return None
        return result if len(result.accuracy) == len(unit.seeds) and result.name == unit.spec.name else None

    def drop(self, units: Sequence[Unit]) -> None:
        """Forget results that are kept elsewhere."""
        for unit in units:
            self._path(unit).unlink(missing_ok=True)

    def _path(self, unit: Unit) -> Path:
        words = json.dumps([unit.spec.name, unit.seeds])
        return self._folder / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"


def _merge_traces(traces: Sequence[TemperatureTrace]) -> TemperatureTrace:
    def sample(field: str) -> FloatArray:
        return np.concatenate([getattr(trace, field) for trace in traces])[:: len(traces)]

    return TemperatureTrace(
        progress=traces[0].progress,
        quantiles=np.mean([trace.quantiles for trace in traces], axis=0),
        difficulty=sample("difficulty"),
        temperature=sample("temperature"),
        sample_progress=sample("sample_progress"),
        mislabelled=None if any(trace.mislabelled is None for trace in traces) else sample("mislabelled"),
    )
