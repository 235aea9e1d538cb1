"""Who can afford a few runs, and keeps the best of them on validation images: which runs should they be?

uv run python -m rltemp.experiments.studies.few_runs --data FOLDER

In cells of the arena: points of test accuracy lost to the setting that was searched there with 800 student runs, by
whoever makes one run, two or three, each of another student, and keeps the one with the highest validation accuracy.
Several runs of one setting are better than one, so that the searched setting has as many in the last lines. What the
arena has finished in its folder is found.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import FloatArray, PolicyResult
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.evaluation.statistics import mean_interval
from rltemp.experiments.studies.cells import MeasuredCell, add_cells, measured_cells
from rltemp.experiments.studies.regrets import in_points, worst_of

POLICY, SEARCHED = "the policy", "the searched setting"
USUAL, LABELS, STATIC = "T = 4, T²", "labels alone", "one static for all tasks"
FEW = (
    *((USUAL,), (LABELS,), (STATIC,), (POLICY,)),
    *((USUAL, USUAL), (USUAL, LABELS), (USUAL, STATIC), (POLICY, POLICY), (POLICY, USUAL)),
    *((USUAL, USUAL, USUAL), (USUAL, STATIC, LABELS), (POLICY, USUAL, LABELS), (POLICY, POLICY, USUAL)),
    *((SEARCHED, SEARCHED), (SEARCHED, SEARCHED, SEARCHED)),
)
"""The runs that are made."""


def main() -> None:
    """Judge, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--policy", default="rltemp/general", help="a trained one (default: %(default)s)")
    add_cells(parser)
    options = parser.parse_args()
    if "," not in options.tasks:
        raise InputError(f"--tasks must name two or more, as others choose a single setting, got {options.tasks!r}")
    spec = trained_policy(options.policy)
    cells = measured_cells(options, [spec])
    print("| runs | of | points lost | in the worst cell |\n|---|---|---|---|")
    for runs in FEW:
        lost = {one.cell: points_lost(one, [_method(run, one, spec.label) for run in runs]) for one in cells}
        mean = in_points(mean_interval(list(lost.values())))
        print(f"| {len(runs)} | {_in_words(runs)} | {mean} | {worst_of(lost)} |")


def points_lost(cell: MeasuredCell, methods: Sequence[str]) -> float:
    """Points of test accuracy lost to the searched setting by the best of some runs, in the mean of the students."""
    kept = keep_best([cell.results[method] for method in methods])
    return 100.0 * float(cell.results[cell.reference].accuracy.mean() - kept.mean())


def keep_best(runs: Sequence[PolicyResult]) -> FloatArray:
    """Test accuracies [S] of the run with the highest validation accuracy, the first of equals.

    Each run is of another student: that of run j is the j-th after the first one's.
    """
    validation, test = (
        np.stack([np.roll(getattr(run, metric), -j) for j, run in enumerate(runs)])
        for metric in ("validation_accuracy", "accuracy")
    )
    kept: FloatArray = np.take_along_axis(test, validation.argmax(0)[None], axis=0)[0]
    return kept


def _method(run: str, cell: MeasuredCell, policy: str) -> str:
    return {POLICY: policy, SEARCHED: cell.reference}.get(run, run)


def _in_words(runs: Sequence[str]) -> str:
    times = ("", "twice ", "three times ")
    return "; ".join(f"{times[runs.count(run) - 1]}{run}" for run in dict.fromkeys(runs))


if __name__ == "__main__":
    main()
