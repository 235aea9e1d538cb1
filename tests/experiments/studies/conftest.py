"""What tests of several studies share."""

from pathlib import Path

import pytest

from rltemp.experiments.studies import cells


@pytest.fixture
def small_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of the study for one cell that is searched and judged in seconds."""
    for name, least in (("STUDENTS", 2), ("TRIALS", 3), ("TUNING_STUDENTS", 1)):
        monkeypatch.setattr(cells, name, least)
    task = tmp_path / "small.yaml"
    task.write_text(
        "data: {name: digits, train: 64, validation: 50}\n"
        "teacher: {network: {options: {hidden: [8]}}, members: 1, epochs: 1}\n"
        "student: {options: {hidden: [8]}}\n"
        "optimization: {epochs: 1, batch_size: 8}\n"
    )
    return ["--tasks", str(task), "--conditions", "clean", "--runs", str(tmp_path)]
