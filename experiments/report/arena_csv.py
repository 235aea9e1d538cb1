"""What the arena found as a table for spreadsheets: a row per line and cell."""

from __future__ import annotations

import csv
import io

from rltemp.experiments.arena.outcome import ArenaOutcome, CellOutcome, Line

__all__ = ["arena_csv"]

_PLAIN = ("method", "setting", "kind", "nll", "calibration_error", "agreement", "divergence", "passes", "overhead")
COLUMNS = (
    *("task", "condition", "budget", "updates", "students"),
    *_PLAIN,
    *("tuning_runs", "accuracy", "accuracy_low", "accuracy_high"),
    *("regret", "regret_low", "regret_high", "regret_nll", "ruling", "reasons", "measure"),
)


def arena_csv(outcome: ArenaOutcome) -> str:
    """A row per line and cell, in their order; numbers in full, shares in [0, 1]; nothing where there is no regret."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in outcome.cells:
        writer.writerows(_row(cell, line) for line in cell.lines)
    return table.getvalue()


def _row(cell: CellOutcome, line: Line) -> list[object]:
    regret = line.regret
    return [
        *(cell.cell.task, cell.cell.condition, cell.cell.budget, cell.updates, cell.students),
        *(getattr(line, name) for name in _PLAIN),
        *(line.tuning_runs, line.accuracy.mean, line.accuracy.low, line.accuracy.high),
        *((regret.mean, regret.low, regret.high) if regret is not None else ("", "", "")),
        *(line.regret_nll, line.ruling, "; ".join(line.reasons), cell.measure),
    ]
