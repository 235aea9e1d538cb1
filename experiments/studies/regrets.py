"""How many points do policies lose to the search in the mean of the arena's cells, and are they ahead of its controls?

uv run python -m rltemp.experiments.studies.regrets runs/arena/arena.csv [MORE.csv ...]

From tables that `rltemp arena` wrote, of which several may hold different cells: for every length, each method's points
of test accuracy lost to the reference tuned in each cell, by condition and by task, and in the mean of all cells; and
how far the policy is ahead of it. Intervals are over the cells, which are paired.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from operator import attrgetter

import numpy as np

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import Cell
from rltemp.experiments.evaluation.statistics import Difference, mean_interval
from rltemp.reading import read_text

__all__ = ["Regrets", "in_points", "read_regrets", "worst_of"]

POLICY = "rltemp/general (batch)"
_CONDITION, _TASK = attrgetter("condition"), attrgetter("task")

Regrets = Mapping[Cell, float]
"""Points of test accuracy that a method loses, by cell."""


def main() -> None:
    """Read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tables", nargs="+", metavar="CSV", help="that rltemp arena wrote")
    parser.add_argument("--policy", default=POLICY, help="method to compare with all others (default: %(default)s)")
    options = parser.parse_args()
    methods = read_regrets(options.tables)
    if options.policy not in methods:
        raise InputError(f"--policy must be of {', '.join(methods)}, got {options.policy!r}")
    budgets = sorted({cell.budget for cell in methods[options.policy]})
    for budget in budgets:
        print(f"{budget} times the updates\n\n{compare(_within(methods, [budget]), options.policy)}\n")
    if len(budgets) > 1:
        print(f"all lengths\n\n{compare(_within(methods, budgets), options.policy)}\n")


def read_regrets(paths: Sequence[str]) -> dict[str, Regrets]:
    """By method. The better reference of a cell loses nothing to itself.

    Raises:
        InputError: for a file that cannot be read or is no such table.
    """
    found: dict[str, dict[Cell, float]] = {}
    for path in paths:
        try:
            for row in csv.DictReader(read_text(path).splitlines()):
                if row["measure"] == "accuracy" and (row["regret"] or row["kind"] == "reference"):
                    cell = Cell(row["task"], row["condition"], int(row["budget"]))
                    found.setdefault(row["method"], {})[cell] = 100.0 * float(row["regret"] or 0.0)
        except (KeyError, ValueError) as error:
            raise InputError(f"CSV must be a table that rltemp arena wrote, got {path}: {error}") from error
    return dict(found)


def _within(methods: Mapping[str, Regrets], budgets: Sequence[int]) -> dict[str, Regrets]:
    """Those that were judged at all of some lengths, there."""
    there = {name: {cell: lost[cell] for cell in lost if cell.budget in budgets} for name, lost in methods.items()}
    return {name: lost for name, lost in there.items() if {cell.budget for cell in lost} == set(budgets)}


def compare(methods: Mapping[str, Regrets], policy: str) -> str:
    """Markdown: a method per row, the best first, each with what the policy gains over it in the cells of both."""
    ours = methods[policy]
    conditions, tasks = ({name(cell): None for cell in ours} for name in (_CONDITION, _TASK))
    head = ["method", *conditions, *tasks, "mean", "worst", f"{policy} ahead by"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for method in sorted(methods, key=lambda name: float(np.mean(list(methods[name].values())))):
        lost = methods[method]
        row = [_mean([lost[cell] for cell in lost if _CONDITION(cell) == name]) for name in conditions]
        row += [_mean([lost[cell] for cell in lost if _TASK(cell) == name]) for name in tasks]
        row += [in_points(mean_interval(list(lost.values()))), worst_of(lost)]
        gaps = [lost[cell] - ours[cell] for cell in ours if cell in lost]
        lines.append(f"| {method} | {' | '.join(row)} | {'' if method == policy else in_points(mean_interval(gaps))} |")
    return "\n".join(lines)


def in_points(mean: Difference) -> str:
    """A mean of points with its interval, as text: "+2.1 [+1.5, +2.7]"."""
    return f"{mean.mean:+.1f} [{mean.low:+.1f}, {mean.high:+.1f}]"


def worst_of(lost: Regrets) -> str:
    """The most that is lost in a cell, and where, as text."""
    worst = max(lost, key=lambda cell: lost[cell])
    return f"{lost[worst]:+.1f} ({worst.task}, {worst.condition})"


def _mean(points: Sequence[float]) -> str:
    return f"{np.mean(points):+.1f}" if points else ""


if __name__ == "__main__":
    main()
