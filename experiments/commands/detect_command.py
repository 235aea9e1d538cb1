"""`rltemp detect`: policies on paired students that detect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from rltemp.display import progress
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.detection.judgement import judge, table
from rltemp.experiments.detection.precision import require_torchmetrics
from rltemp.experiments.detection.tasks import SETTINGS, TaskName, load_data
from rltemp.experiments.detection.units import DetectionRun
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.files import atomic_write

__all__ = ["detect", "dry_run"]


def detect(task: TaskName, data: str | None, specs: Sequence[PolicySpec], seeds: range, root: str) -> Path:
    """Do what is not done yet in `<root>/detect-<task>/`, print the table, and write it there.

    Args:
        task: what is detected.
        data: of cells, the path.
        specs: policies.
        seeds: of the students.
        root: folder of all runs.

    Returns:
        The table's file.

    Raises:
        InputError: for missing data or libraries, or a folder in which another process works.
    """
    require_torchmetrics()
    torch.set_num_threads(1)
    run = _open(task, data, root)
    store = ResultStore(_folder(task, root))
    with store.alone(), progress(f"detect {task}", len(specs) * len(seeds) + 1) as display:
        teacher = run.teacher_precision()
        display.advance()
        rows = judge(run.results(specs, seeds, display))
    text = table(rows, teacher)
    print(text, end="")
    path = store.folder / "table.md"
    atomic_write(path, text)
    return path


def dry_run(task: TaskName, data: str | None, specs: Sequence[PolicySpec], seeds: range, root: str) -> None:
    """Print how much work there is, how much of it is done, and about how long the rest takes if that is known."""
    run = _open(task, data, root)
    left = sum(not run.done(spec, seed) for spec in specs for seed in seeds)
    minutes = left * run.seconds(specs, seeds) / 60
    took = "" if math.isnan(minutes) else f", about {minutes:.0f} min by those that are done"
    print(
        f"{len(specs)} policies on {len(seeds)} students of {run.setting.updates} updates: {left} of "
        f"{len(specs) * len(seeds)} runs are left to do{took}"
    )


def _open(task: TaskName, data: str | None, root: str) -> DetectionRun:
    return DetectionRun(task, load_data(task, data), SETTINGS[task], ResultStore(_folder(task, root)))


def _folder(task: TaskName, root: str) -> Path:
    return Path(root, f"detect-{task}")
