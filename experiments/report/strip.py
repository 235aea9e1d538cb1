"""Temperatures over the run of easy, hard and mislabelled instances, side by side."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import FloatArray, PolicyResult, TemperatureTrace
from rltemp.experiments.report.figure import drawing, temperature_axis

__all__ = ["plot_strip"]

IntArray = NDArray[np.int64]

STAGES = 15
"""Parts of the run, each a point of a line."""

LEAST = 3
"""Instances of a kind below which a stage has no point."""

LOOKS = {"easy third": ("#009e73", "-"), "hard third": ("#b5679b", "--"), "mislabelled": ("#b8860b", ":")}


def plot_strip(result: PolicyResult) -> Figure:
    """Temperatures over the run of kinds of instances: a line for their median, a band for their middle half.

    Easy are the third of a stage's sampled instances with the lowest cross-entropy, hard that with the highest. Those
    whose labels are known to be replaced are a kind of their own, and neither easy nor hard.

    Raises:
        InputError: for a result without a trace that samples instances.
    """
    trace = result.trace
    if trace is None or not len(trace.difficulty):
        raise InputError(f"{result.name} must have a trace with sampled instances")
    kinds = _kinds(trace)
    with drawing(2.1) as figure:
        axes = figure.subplots()
        for kind, chosen in kinds.items():
            color, dashes = LOOKS[kind]
            moments, quartiles = _course(trace, chosen)
            axes.fill_between(moments, quartiles[0], quartiles[2], color=color, alpha=0.2, linewidth=0)
            axes.plot(moments, quartiles[1], color=color, ls=dashes, label=kind)
        temperature_axis(axes)
        axes.set_xlim(0, 100)
        axes.set_xlabel("Progress of the run, %")
        axes.set_ylabel("Temperature")
        figure.legend(loc="outside upper center", ncols=len(kinds))
    return figure


def _stages(trace: TemperatureTrace) -> list[IntArray]:
    """The samples of each stage."""
    number = np.minimum((trace.sample_progress * STAGES).astype(np.int64), STAGES - 1)
    return [np.flatnonzero(number == stage) for stage in range(STAGES)]


def _kinds(trace: TemperatureTrace) -> dict[str, IntArray]:
    """The samples of each kind."""
    known = trace.mislabelled is not None and bool(trace.mislabelled.any())
    wrong = trace.mislabelled > 0 if trace.mislabelled is not None else np.zeros(len(trace.difficulty), dtype=bool)
    easy, hard = [], []
    for stage in _stages(trace):
        right = stage[~wrong[stage]]
        thirds = np.array_split(right[np.argsort(trace.difficulty[right], kind="stable")], 3)
        easy.append(thirds[0])
        hard.append(thirds[-1])
    kinds = {"easy third": np.concatenate(easy), "hard third": np.concatenate(hard)}
    return {**kinds, "mislabelled": np.flatnonzero(wrong)} if known else kinds


def _course(trace: TemperatureTrace, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
    """Progress in percent, [P], and quartiles of the temperature, [3, P], of the chosen samples, NaN where too few."""
    parts = [np.intersect1d(stage, chosen) for stage in _stages(trace)]
    quartiles = [
        np.quantile(trace.temperature[part], (0.25, 0.5, 0.75)) if len(part) >= LEAST else np.full(3, np.nan)
        for part in parts
    ]
    return 100 * (np.arange(STAGES) + 0.5) / STAGES, np.stack(quartiles, axis=1)
