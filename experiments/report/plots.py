"""The figures of an evaluation. Each function returns a `Figure`; `to_svg` and `to_png` render it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from rltemp.errors import InputError
from rltemp.experiments.evaluation.comparison import Comparison, Row
from rltemp.experiments.evaluation.results import FloatArray, PolicyResult, TemperatureTrace
from rltemp.experiments.evaluation.statistics import Difference
from rltemp.experiments.report.figure import (
    COLORS,
    FAMILY_NAMES,
    MUTED,
    PAPER,
    difficulty_axis,
    drawing,
    temperature_axis,
)
from rltemp.experiments.report.sentences import signed

__all__ = [
    "TRAINING_COLUMNS",
    "plot_accuracy",
    "plot_differences",
    "plot_difficulty",
    "plot_temperature",
    "plot_training",
    "rows_with_temperature",
]

TRAINING_COLUMNS: dict[str, str] = {
    "return": "Return of a rollout",
    "kl": "KL to the previous policy",
    "std": "Exploration noise (std)",
    "clip_fraction": "Share of clipped ratios",
}
"""The columns of a training log that `plot_training` shows, with their titles."""


PHASES = LinearSegmentedColormap.from_list("phases", ["#3b6fb6", "#8d8bb0", "#e07b39"])
"""From early to late; every shade holds on white and on black."""

DASHED = (0, (4, 3))


def plot_accuracy(comparison: Comparison) -> Figure:
    """Test accuracy per policy: every student a dot, the mean with its interval on top.

    Policies far off the best static temperature are named at the edge, where they do not squeeze the rest; so are those
    whose students diverged.
    """
    whole = [row for row in comparison.rows if not row.diverged] or comparison.rows
    near = [_accuracies(row) for row in whole if not _is_far(row, _reach(comparison))]
    low, high = min(values.min() for values in near), max(values.max() for values in near)
    with drawing(_height(comparison.rows)) as figure:
        axes = _rows_axes(figure, comparison.rows)
        for y, row in enumerate(comparison.rows):
            color = COLORS[row.family]
            if row not in whole:
                _name_at_edge(axes, y, "diverged", True, color)
                continue
            if not low <= row.accuracy.mean <= high:
                _name_at_edge(axes, y, f"{100 * row.accuracy.mean:.2f}", row.accuracy.mean < low, color)
                continue
            for values in _accuracies(row):
                spread = y + _spread(len(values))
                axes.scatter(100 * values, spread, s=9, color=color, alpha=0.4, linewidths=0, zorder=2)
            _mean_and_interval(axes, y, row.accuracy, color)
        if comparison.best_static is not None:
            level = 100 * float(comparison.best_static.accuracy.mean())
            axes.axvline(level, color=MUTED, lw=1, ls=DASHED, zorder=1)
        axes.set_xlabel("Test accuracy, %")
    return figure


def plot_differences(comparison: Comparison) -> Figure:
    """Paired differences to the best static temperature in points, with their intervals.

    Policies far off (most often T = 1 and plain cross-entropy) are named at the edge and do not squeeze the rest.
    """
    pairs = [(row, row.versus_static) for row in comparison.rows if row.versus_static is not None]
    if comparison.best_static is None or not pairs:
        raise InputError("comparison must hold a static temperature and another policy to compare with it")
    reach = _reach(comparison)
    near = [gap for row, gap in pairs if not _is_far(row, reach)]
    low, high = min(0.0, *(gap.low for gap in near)), max(0.0, *(gap.high for gap in near))
    margin = 0.06 * (high - low) or 0.01
    rows = [row for row, _ in pairs]
    with drawing(_height(rows)) as figure:
        axes = _rows_axes(figure, rows)
        axes.axvline(0, color=MUTED, lw=1, ls=DASHED, zorder=1)
        axes.set_xlim(100 * (low - margin), 100 * (high + margin))
        for y, (row, gap) in enumerate(pairs):
            if _is_far(row, reach):
                _name_at_edge(axes, y, signed(gap.mean), gap.mean < 0, COLORS[row.family])
            else:
                _mean_and_interval(axes, y, gap, COLORS[row.family])
        axes.set_xlabel("Test accuracy above the best static T, points")
    return figure


def plot_temperature(comparison: Comparison) -> Figure:
    """The temperature over the run, a panel per policy: median, middle half and middle 90 % of the instances.

    Of the schedules only the best is shown, and of the static temperatures only the best: as a line in every panel that
    holds it, as an arrow at the edge of the others. Each panel has limits of its own.
    """
    rows = rows_with_temperature(comparison)
    if not rows:
        raise InputError("comparison must hold a policy with a recorded temperature, other than a static one")
    columns = min(2, len(rows))
    lines = -(-len(rows) // columns)
    with drawing(0.55 + 1.45 * lines) as figure:
        panels = figure.subplots(lines, columns, sharex=True, squeeze=False)
        for axes, (row, trace) in zip(panels.flat, rows, strict=False):
            color = COLORS[row.family]
            for outer, alpha in ((0, 0.18), (1, 0.32)):
                band = trace.quantiles[:, outer], trace.quantiles[:, -1 - outer]
                axes.fill_between(100 * trace.progress, *band, color=color, alpha=alpha, linewidth=0)
            axes.plot(100 * trace.progress, trace.quantiles[:, 2], color=color)
            axes.set_title("\n".join(wrap(row.label, 22)), color=color, fontweight="bold")
            temperature_axis(axes)
            _static_line(axes, comparison.best_static)
        _hide_unused(panels, len(rows))
        panels[0, 0].set_xlim(0, 100)
        figure.supxlabel("Progress of the run, %", fontsize=9.5)
        figure.supylabel("Temperature", fontsize=9.5)
    return figure


def rows_with_temperature(comparison: Comparison) -> list[tuple[Row, TemperatureTrace]]:
    """The rows that `plot_temperature` has a panel for, with the recorded temperatures of their first member."""
    return [
        (row, row.members[0].trace)
        for row in comparison.rows
        if row.members[0].trace is not None
        and (row.family not in ("static", "schedule") or comparison.best_schedule in row.members)
    ]


def plot_difficulty(result: PolicyResult) -> Figure:
    """Temperature against difficulty: an instance per dot, and the median for the early, middle and late run."""
    trace = result.trace
    if trace is None or not len(trace.difficulty):
        raise InputError(f"{result.name} must have a trace with sampled instances")
    shades = Normalize(0, 100)
    # Below a ten-thousandth of a nat every instance is simply solved.
    difficulty = np.maximum(trace.difficulty, 1e-4)
    with drawing(3.1) as figure:
        axes = figure.subplots()
        axes.scatter(
            difficulty,
            trace.temperature,
            c=100 * trace.sample_progress,
            cmap=PHASES,
            norm=shades,
            s=7,
            alpha=0.35,
            linewidths=0,
            rasterized=True,
        )
        for phase in range(3):
            inside = np.minimum((trace.sample_progress * 3).astype(int), 2) == phase
            x, y = _running_median(difficulty[inside], trace.temperature[inside])
            axes.plot(x, y, color=PAPER, lw=4.5, solid_capstyle="round")
            axes.plot(x, y, color=PHASES((phase + 0.5) / 3), lw=2.2, solid_capstyle="round")
        difficulty_axis(axes)
        temperature_axis(axes)
        axes.set_xlabel("Student's cross-entropy before the update, nats (harder →)")
        axes.set_ylabel("Temperature")
        bar = figure.colorbar(ScalarMappable(shades, PHASES), ax=axes, pad=0.02, aspect=30, ticks=[0, 50, 100])
        bar.outline.set_visible(False)
        bar.set_label("Progress of the run, %")
    return figure


def plot_training(columns: Mapping[str, ArrayLike]) -> Figure:
    """How the agent learned: those of `TRAINING_COLUMNS` that are there, one value per rollout, NaN where none."""
    shown = [name for name in TRAINING_COLUMNS if name in columns]
    if not shown:
        raise InputError(f"columns must hold one of {', '.join(TRAINING_COLUMNS)}, got {', '.join(columns) or 'none'}")
    with drawing(0.5 + 1.5 * (-(-len(shown) // 2))) as figure:
        panels = figure.subplots(-(-len(shown) // 2), min(2, len(shown)), sharex=True, squeeze=False)
        for axes, name in zip(panels.flat, shown, strict=False):
            values = np.asarray(columns[name], dtype=np.float64)
            marker = "o" if len(values) <= 30 else ""
            axes.plot(np.arange(1, len(values) + 1), values, color=COLORS["trained"], marker=marker, ms=3.5)
            axes.set_title(TRAINING_COLUMNS[name])
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _hide_unused(panels, len(shown))
        figure.supxlabel("Rollout", fontsize=9.5)
    return figure


def _height(rows: Sequence[Row]) -> float:
    lines = max(len(_lines(row)) for row in rows)
    return 1.0 + (0.27 if lines == 1 else 0.16 * lines + 0.04) * len(rows)


def _lines(row: Row) -> list[str]:
    """The label, as narrow as there is room beside the axes."""
    return wrap(row.label, 24)


def _rows_axes(figure: Figure, rows: Sequence[Row]) -> Axes:
    """Axes with a line per policy, labels on the left and the families' colors explained below."""
    axes = figure.subplots()
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), ["\n".join(_lines(row)) for row in rows], linespacing=1.1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.family == "trained" else "normal")
    families = list(dict.fromkeys(row.family for row in rows))
    handles = [
        Line2D([], [], color=COLORS[name], marker="D", ms=5, lw=0, label=FAMILY_NAMES[name]) for name in families
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, handletextpad=0.1, columnspacing=1.2)
    return axes


def _mean_and_interval(axes: Axes, y: float, estimate: Difference, color: str) -> None:
    ends = [100 * estimate.low, 100 * estimate.high]
    axes.plot(ends, [y, y], color=PAPER, lw=5, solid_capstyle="butt", zorder=3)
    axes.plot(ends, [y, y], color=color, lw=2.4, solid_capstyle="butt", zorder=4)
    axes.plot([100 * estimate.mean], [y], color=color, marker="D", ms=5.5, mec=PAPER, mew=0.7, zorder=5)


def _reach(comparison: Comparison) -> float:
    """How far from the best static temperature a policy is drawn: 5 points, or three times the usual distance."""
    gaps = [(row.family, abs(row.versus_static.mean)) for row in comparison.rows if row.versus_static is not None]
    trained = [gap for family, gap in gaps if family == "trained"]
    return max(0.05, 3 * float(np.median([gap for _, gap in gaps] or [0.0])), *trained)


def _is_far(row: Row, reach: float) -> bool:
    return row.versus_static is not None and abs(row.versus_static.mean) > reach


def _accuracies(row: Row) -> FloatArray:
    return np.stack([member.accuracy for member in row.members])


def _name_at_edge(axes: Axes, y: float, text: str, left: bool, color: str) -> None:
    edge, inner, start, side = (0.0, 0.06, 0.07, "left") if left else (1.0, 0.94, 0.93, "right")
    place = axes.get_yaxis_transform()
    arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(edge, y), xytext=(inner, y), xycoords=place, textcoords=place, arrowprops=arrow)
    axes.text(start, y, text, transform=place, ha=side, va="center", fontsize=8.5)


def _hide_unused(panels: NDArray[Any], used: int) -> None:
    """Hide the panels after the first `used`, and let the panel above each name its x values."""
    for index in range(used, panels.size):
        panels.flat[index].set_visible(False)
        if index >= panels.shape[1]:
            panels.flat[index - panels.shape[1]].tick_params(labelbottom=True)


def _static_line(axes: Axes, static: PolicyResult | None) -> None:
    if static is not None and static.trace is not None:
        level = float(np.median(static.trace.quantiles[:, 2]))
        low, high = axes.get_ylim()
        if low <= level <= high:
            axes.axhline(level, color=MUTED, lw=1, ls=DASHED, zorder=1)
            return
        height, arrow = (0.98, "\N{UPWARDS ARROW}") if level > high else (0.02, "\N{DOWNWARDS ARROW}")
        side = "top" if level > high else "bottom"
        axes.text(0.98, height, f"{arrow} T = {level:.3g}", transform=axes.transAxes, ha="right", va=side, fontsize=8.5)


def _spread(count: int) -> FloatArray:
    """Offsets in [-0.3, 0.3] that keep neighbors apart, the same every time (the golden ratio's multiples)."""
    golden = (5**0.5 - 1) / 2
    return np.asarray(0.6 * (np.arange(1, count + 1) * golden % 1.0) - 0.3, dtype=np.float64)


def _running_median(x: FloatArray, y: FloatArray, bins: int = 12) -> tuple[FloatArray, FloatArray]:
    """Medians of `y` in bins of equally many instances, at the median `x` of each."""
    parts = [part for part in np.array_split(np.argsort(x, kind="stable"), bins) if len(part) >= 5]
    centers = np.array([np.median(x[part]) for part in parts], dtype=np.float64)
    return centers, np.array([np.median(y[part]) for part in parts], dtype=np.float64)
