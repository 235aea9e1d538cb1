"""Regret over the length of training, a panel per task and condition."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import ArenaOutcome, CellOutcome
from rltemp.experiments.report.arena_tables import TIMES, is_diverged
from rltemp.experiments.report.figure import MUTED, drawing

__all__ = ["MOST_CURVES", "conditions_with_curves", "plot_regret_curves"]

# Hues after Okabe & Ito (2008), as in `figure.COLORS`; the markers tell curves apart without color as well.
LOOKS = (("#d55e00", "o"), ("#3b82c4", "s"), ("#009e73", "^"), ("#b5679b", "D"), ("#8a8f98", "v"), ("#b8860b", "P"))

MOST_CURVES = len(LOOKS)
"""More curves than this nobody tells apart."""


def plot_regret_curves(outcome: ArenaOutcome, methods: Sequence[str], conditions: Sequence[str] = ("clean",)) -> Figure:
    """Points of accuracy below the tuned reference over budgets, with intervals. Gaps are where a method diverged.

    Args:
        outcome: what the arena found.
        methods: names of at most `MOST_CURVES` methods.
        conditions: those that panels are made for, in this order within a task.

    Raises:
        InputError: for more methods, or if there is nothing to draw.
    """
    if not 1 <= len(methods) <= MOST_CURVES:
        raise InputError(f"methods must hold 1 to {MOST_CURVES} names, got {len(methods)}")
    panels = _panels(outcome, methods, conditions)
    if not panels:
        raise InputError("outcome must hold the regret of one of these methods under one of these conditions")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    drawn: dict[str, Line2D] = {}
    with drawing(0.9 + 0.18 * -(-len(methods) // 2) + 1.55 * rows) as figure:
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for axes, (title, cells) in zip(grid.flat, panels.items(), strict=False):
            axes.axhline(0, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=1)
            for method, look in zip(methods, LOOKS, strict=False):
                line = _curve(axes, cells, method, *look)
                if line is not None:
                    drawn.setdefault(method, line)
            axes.set_title("\n".join(wrap(title, 32)))
            axes.yaxis.set_major_locator(MaxNLocator(5))
        _budget_axis(grid[0, 0], sorted({cell.cell.budget for cells in panels.values() for cell in cells}))
        for index in range(len(panels), grid.size):
            grid.flat[index].set_visible(False)
            grid.flat[index - columns].tick_params(labelbottom=True)
        figure.supxlabel("Updates, in multiples of the task's own", fontsize=9.5)
        figure.supylabel("Regret, points", fontsize=9.5)
        figure.legend(list(drawn.values()), list(drawn), loc="outside upper center", ncols=2, columnspacing=1.2)
    return figure


def conditions_with_curves(outcome: ArenaOutcome, methods: Sequence[str]) -> list[str]:
    """The conditions under which one of the methods has a regret to draw."""
    conditions = dict.fromkeys(cell.cell.condition for cell in outcome.cells)
    return [condition for condition in conditions if _panels(outcome, methods, (condition,))]


def _panels(outcome: ArenaOutcome, methods: Sequence[str], conditions: Sequence[str]) -> dict[str, list[CellOutcome]]:
    """The cells of each task and condition, by budget, where there is something to draw."""
    panels: dict[str, list[CellOutcome]] = {}
    for task in dict.fromkeys(cell.cell.task for cell in outcome.cells):
        for condition in conditions:
            here = [cell for cell in outcome.cells if (cell.cell.task, cell.cell.condition) == (task, condition)]
            if any(_regret(cell, method) is not None for cell in here for method in methods):
                title = f"{task}, {condition}" if len(conditions) > 1 else task
                panels[title] = sorted(here, key=lambda cell: cell.cell.budget)
    return panels


def _regret(cell: CellOutcome, method: str) -> tuple[float, float, float] | None:
    """Mean and interval in points; None where there is none."""
    line = cell.line(method)
    if line is None or line.regret is None or is_diverged(line):
        return None
    return 100 * line.regret.mean, 100 * line.regret.low, 100 * line.regret.high


def _curve(axes: Axes, cells: Sequence[CellOutcome], method: str, color: str, marker: str) -> Line2D | None:
    """Draw one method; None if it has no point here."""
    points = [_regret(cell, method) or (np.nan,) * 3 for cell in cells]
    budgets = np.array([cell.cell.budget for cell in cells], dtype=np.float64)
    # An interval without ends, which is all that one student gives, would stretch the axis beyond use.
    mean, low, high = np.where(np.isinf(points), np.nan, points).T
    if not np.isfinite(mean).any():
        return None
    axes.fill_between(budgets, low, high, color=color, alpha=0.18, linewidth=0)
    # A band needs two neighbors; bars also show the interval of a point that stands alone.
    axes.vlines(budgets, low, high, color=color, alpha=0.5, lw=1)
    return axes.plot(budgets, mean, color=color, marker=marker, ms=4.5, zorder=3)[0]


def _budget_axis(axes: Axes, budgets: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [f"{TIMES}{budget}" for budget in budgets])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(budgets[0] / 1.25, budgets[-1] * 1.25)
