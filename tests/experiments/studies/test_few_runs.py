"""The study of few runs keeps what validation images prefer, and loses to the search what the arena says."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import Cell, CellOutcome
from rltemp.experiments.arena.run import run_alone
from rltemp.experiments.studies import cells
from rltemp.experiments.studies.cells import MeasuredCell
from rltemp.experiments.studies.few_runs import FEW, LABELS, POLICY, STATIC, USUAL, keep_best, main, points_lost


def _runs(*pairs: tuple[list[float], list[float]]) -> list[Any]:
    return [
        SimpleNamespace(validation_accuracy=np.array(validation), accuracy=np.array(test)) for validation, test in pairs
    ]


def test_the_run_that_validation_prefers_is_kept_and_each_is_of_another_student() -> None:
    generator = np.random.default_rng(0)
    runs = _runs(*((list(generator.integers(4, size=9) / 4), list(generator.random(9))) for _ in range(3)))
    expected = []
    for student in range(9):
        best, kept = -1.0, 0.0
        for later, run in enumerate(runs):
            other = (student + later) % 9
            if run.validation_accuracy[other] > best:
                best, kept = run.validation_accuracy[other], run.accuracy[other]
        expected.append(kept)
    np.testing.assert_array_equal(keep_best(runs), expected)


def test_points_are_lost_to_the_searched_setting() -> None:
    searched, other = _runs(([0.9, 0.9], [0.75, 0.85]), ([0.5, 0.6], [0.6, 0.7]))
    cell = MeasuredCell(Cell("a", "clean", 1), {"searched": searched, "other": other}, "searched")
    assert points_lost(cell, ["other"]) == pytest.approx(15.0)
    assert points_lost(cell, ["other", "searched"]) == pytest.approx(0.0)
    assert points_lost(cell, ["other", "other"]) == pytest.approx(100 * (0.8 - (0.7 + 0.7) / 2))


def test_one_run_loses_what_the_arena_says(
    small_cell: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[CellOutcome] = []

    def arena(*arguments: Any) -> list[CellOutcome]:
        found.extend(run_alone(*arguments))
        return found

    monkeypatch.setattr(cells, "run_alone", arena)
    tasks = f"{small_cell[1]},{shutil.copy(small_cell[1], tmp_path / 'again.yaml')}"
    monkeypatch.setattr("sys.argv", ["few_runs", *small_cell, "--tasks", tasks, "--conditions", "clean,noise30"])
    main()
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()][2:]
    assert [int(row[0]) for row in rows] == [len(runs) for runs in FEW]
    names = {USUAL: USUAL, LABELS: LABELS, STATIC: STATIC, POLICY: "rltemp/general (batch)"}
    for row in rows[: len(names)]:
        regrets = [line.regret for cell in found for line in cell.lines if line.method == names[row[1]]]
        points = [100.0 * regret.mean for regret in regrets if regret is not None]
        assert len(points) == 4
        assert float(row[2].split()[0]) == pytest.approx(np.mean(points), abs=0.06)
        assert float(row[3].split()[0]) == pytest.approx(max(points), abs=0.06)
    assert {"the policy; T = 4, T²", "twice the policy; T = 4, T²", "three times the searched setting"} <= {
        row[1] for row in rows
    }


def test_one_task_alone_is_refused(small_cell: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["few_runs", *small_cell])
    with pytest.raises(
        InputError, match=r"--tasks must name two or more, as others choose a single setting, got '.*small\.yaml'"
    ):
        main()
