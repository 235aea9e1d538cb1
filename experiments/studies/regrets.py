"""How many points do policies lose to the search in the mean of the arena's cells, and are they ahead of its controls?

uv run python -m rltemp.experiments.studies.regrets runs/arena/arena.csv [MORE.csv ...]

From tables that `rltemp arena` wrote, of which several may hold different cells: for every length, each method's points
of test accuracy lost to the reference tuned in each cell, by condition and by task, and in the mean of all cells; and
how far the policy is ahead of it. Intervals are over the cells, which are paired.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rltemp.errors import InputError
from rltemp.experiments.evaluation.statistics import Difference, mean_interval
from rltemp.reading import read_text

__all__ = ["Place", "Regrets", "in_points", "read_regrets", "worst_of"]

POLICY = "rltemp/general (batch)"


class Place(NamedTuple):
    """Where a method was judged."""

    task: str
    condition: str


Regrets = Mapping[Place, float]
"""Points of test accuracy that a method loses in cells of one length."""


def main() -> None:
    """Read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tables", nargs="+", metavar="CSV", help="that rltemp arena wrote")
    parser.add_argument("--policy", default=POLICY, help="method to compare with all others (default: %(default)s)")
    options = parser.parse_args()
    for budget, methods in sorted(read_regrets(options.tables).items()):
        if options.policy not in methods:
            raise InputError(f"--policy must be of {', '.join(methods)}, got {options.policy!r}")
        print(f"{budget} times the updates\n\n{compare(methods, options.policy)}\n")


def read_regrets(paths: Sequence[str]) -> dict[int, dict[str, Regrets]]:
    """By length, as a multiple of the updates, and by method. The better reference loses nothing to itself.

    Raises:
        InputError: for a file that cannot be read or is no such table.
    """
    found: dict[int, dict[str, Regrets]] = {}
    for path in paths:
        try:
            for row in csv.DictReader(read_text(path).splitlines()):
                if row["measure"] == "accuracy" and (row["regret"] or row["kind"] == "reference"):
                    methods = found.setdefault(int(row["budget"]), {})
                    place = Place(row["task"], row["condition"])
                    lost = {place: 100.0 * float(row["regret"] or 0.0)}
                    methods[row["method"]] = {**methods.get(row["method"], {}), **lost}
        except (KeyError, ValueError) as error:
            raise InputError(f"CSV must be a table that rltemp arena wrote, got {path}: {error}") from error
    return found


def compare(methods: Mapping[str, Regrets], policy: str) -> str:
    """Markdown: a method per row, the best first, each with what the policy gains over it in the cells of both."""
    ours = methods[policy]
    conditions, tasks = (list(dict.fromkeys(names)) for names in ([p.condition for p in ours], [p.task for p in ours]))
    head = ["method", *conditions, *tasks, "mean", "worst", f"{policy} ahead by"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for method in sorted(methods, key=lambda name: _mean(methods[name].values())):
        lost = methods[method]
        row = [f"{_mean(lost[p] for p in lost if p.condition == name):+.1f}" for name in conditions]
        row += [f"{_mean(lost[p] for p in lost if p.task == name):+.1f}" for name in tasks]
        row += [in_points(mean_interval(list(lost.values()))), worst_of(lost)]
        row += ["" if method == policy else in_points(mean_interval([lost[p] - ours[p] for p in ours if p in lost]))]
        lines.append(f"| {method} | {' | '.join(row)} |")
    return "\n".join(lines)


def in_points(mean: Difference) -> str:
    """A mean of points with its interval, as text: "+2.1 [+1.5, +2.7]"."""
    return f"{mean.mean:+.1f} [{mean.low:+.1f}, {mean.high:+.1f}]"


def worst_of(lost: Regrets) -> str:
    """The most that is lost in a cell, and where, as text."""
    worst = max(lost, key=lambda place: lost[place])
    return f"{lost[worst]:+.1f} ({worst.task}, {worst.condition})"


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    main()
