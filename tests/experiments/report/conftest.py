import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from rltemp.experiments.arena.outcome import ArenaOutcome, Cell, CellOutcome, Line
from rltemp.experiments.evaluation.statistics import Difference


def _around(mean: float, half: float) -> Difference:
    return Difference(mean, mean - half, mean + half, 8, 0.5)


@pytest.fixture
def make_line() -> Callable[..., Line]:
    """Lines whose regret in points is given, with half the width of its interval; NaN for one that diverged."""

    def make(method: str = "lskd", regret: float | None = 1.0, half: float = 0.5, **changes: Any) -> Line:
        lost = regret is not None and math.isnan(regret)
        fields: dict[str, Any] = {
            "method": method,
            "setting": "",
            "kind": "rule",
            "accuracy": _around(0.9 - (regret or 0.0) / 100, 0.004),
            "nll": math.inf if lost else 0.5,
            "calibration_error": 0.034,
            "agreement": 0.876,
            "divergence": 0.125,
            "passes": 384.0,
            "overhead": 0.0,
            "tuning_runs": 12,
            "regret": None if regret is None else _around(regret / 100, half / 100),
            "regret_nll": 0.1,
            "ruling": "diverged" if lost else "",
        }
        return Line(**{**fields, **changes})

    return make


@pytest.fixture
def make_cell() -> Callable[..., CellOutcome]:
    def make(
        lines: Sequence[Line], task: str = "digits", condition: str = "clean", budget: int = 1, **changes: Any
    ) -> CellOutcome:
        fields: dict[str, Any] = {
            "cell": Cell(task, condition, budget),
            "updates": 1200 * budget,
            "students": 8,
            "recipe": "SGD, lr 0.1",
            "lines": tuple(lines),
        }
        return CellOutcome(**{**fields, **changes})

    return make


@pytest.fixture
def make_arena(make_line: Callable[..., Line], make_cell: Callable[..., CellOutcome]) -> Callable[..., ArenaOutcome]:
    """Arenas of every kind of line, over tasks, two conditions and budgets, with a name of one's own for a policy."""

    def make(tasks: int = 2, budgets: Sequence[int] = (1, 4), policy: str = "agent") -> ArenaOutcome:
        cells = []
        for task in range(tasks):
            for condition in ("clean", "few images"):
                for budget in budgets:
                    lines = [
                        make_line("teacher", None, kind="bound", passes=0.0),
                        make_line("static, tuned", None, setting="T = 2", kind="reference"),
                        make_line("T = 4", 0.5 + task, kind="single"),
                        make_line("T = 1", 3.0, kind="single"),
                        make_line("lskd", math.nan if (task, budget) == (0, 4) else 1.0),
                        make_line("ttm", 0.2, kind="preset"),
                        make_line(policy, -0.3, 0.1, kind="trained", ruling="better"),
                        make_line("shuffled", 0.1, kind="control"),
                    ]
                    cells.append(make_cell(lines, f"task {task}", condition, budget))
        return ArenaOutcome(tuple(cells), {"processor": "a processor"}, "rltemp arena")

    return make
