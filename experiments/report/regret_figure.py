"""The map as a figure: a heat map for pages that color no cells themselves."""

from __future__ import annotations

import math
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rltemp.errors import InputError
from rltemp.experiments.report.figure import MUTED, WIDTH, drawing
from rltemp.experiments.report.regret_map import (
    DIVERGED,
    Entry,
    RegretMap,
    mean_text,
    place,
    regret_color,
    summary_groups,
)
from rltemp.experiments.report.sentences import signed

__all__ = ["plot_regret_map"]

MOST = 24
"""Columns of cells; beyond, the figure shows means over tasks and over conditions."""

COLUMN, ROW, GAP = 0.42, 0.27, 0.35
"""Inches per column and row, and the share of a column that sets the means apart."""


def plot_regret_map(regrets: RegretMap) -> Figure:
    """Regret in points, a row per method: cells, then the mean and the worst. Bold where the interval excludes 0.

    With more than `MOST` cells its columns are means over tasks and over conditions.

    Raises:
        InputError: if the map has no rows.
    """
    if not regrets.rows:
        raise InputError("regrets must hold at least one method, got none")
    wide = len(regrets.columns) > MOST
    groups = summary_groups(regrets) if wide else {place(cell): (i,) for i, cell in enumerate(regrets.columns)}
    titles = [*groups, "mean", "worst"]
    lefts = [float(x) for x in range(len(groups))] + [len(groups) + GAP, len(groups) + 1 + GAP]
    width = max(WIDTH, 2.6 + COLUMN * (len(titles) + GAP))
    tallest = max(map(len, titles))
    with drawing(0.9 + 0.05 * tallest + ROW * len(regrets.rows), width) as figure:
        axes = figure.subplots()
        _frame(axes, titles, lefts, regrets)
        for y, row in enumerate(regrets.rows):
            worst = None if row.worst is None else row.entries[row.worst]
            for x, indices in zip(lefts, groups.values(), strict=False):
                _draw(axes, x, y, [row.entries[i] for i in indices])
            _draw(axes, lefts[-2], y, list(row.entries))
            _draw(axes, lefts[-1], y, [worst])
        figure.supxlabel("Points of accuracy below the tuned reference. * not over all cells", fontsize=9)
    return figure


def _frame(axes: Axes, titles: list[str], lefts: list[float], regrets: RegretMap) -> None:
    """Columns named above, methods on the left, and nothing else."""
    axes.set_xlim(-0.05, lefts[-1] + 1.05)
    axes.set_ylim(len(regrets.rows), 0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_xticks(np.array(lefts) + 0.5, titles, rotation=40, ha="left", rotation_mode="anchor")
    labels = ["\n".join(wrap(row.method, 30)) for row in regrets.rows]
    axes.set_yticks(np.arange(len(labels)) + 0.5, labels, linespacing=0.95)
    for tick, row in zip(axes.get_yticklabels(), regrets.rows, strict=True):
        tick.set_fontweight("bold" if row.kind == "trained" else "normal")
    for x, (left, right) in enumerate(zip(regrets.columns, regrets.columns[1:], strict=False)):
        if left.task != right.task and len(lefts) == len(regrets.columns) + 2:
            axes.axvline(x + 1, color=MUTED, lw=0.6, zorder=1)


def _draw(axes: Axes, x: float, y: int, entries: list[Entry | None]) -> None:
    """The mean of the entries as text on its color; marked where only a part of them is behind it."""
    there = [entry.regret for entry in entries if entry is not None and not entry.diverged]
    mean = math.fsum(there) / len(there) if there else math.nan
    red, green, blue, opacity = regret_color(mean)
    face = (red / 255, green / 255, blue / 255, opacity)
    axes.add_patch(Rectangle((x + 0.04, y + 0.05), 0.92, 0.9, facecolor=face, linewidth=0))
    text = signed(mean, 1) + ("*" if len(there) < len(entries) else "") if there else mean_text(entries)
    clear = len(entries) == 1 and entries[0] is not None and entries[0].clear
    style = "italic" if text == DIVERGED else "normal"
    weight = "bold" if clear else "normal"
    axes.text(x + 0.5, y + 0.52, text, ha="center", va="center", fontsize=8, fontweight=weight, fontstyle=style)
