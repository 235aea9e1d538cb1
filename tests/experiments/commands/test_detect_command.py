"""The comparison of detectors as a command, on a task of seconds."""

import re
from pathlib import Path

import pytest
import torch

from rltemp.data import load_digits
from rltemp.detection import paste_digits
from rltemp.experiments.cli import main
from rltemp.experiments.commands import detect_command
from rltemp.experiments.detection.tasks import DetectionData, Setting, load_data

pytest.importorskip("torchmetrics")
pytest.importorskip("pycocotools")

POLICIES = "no-kd,static(temperature=1),static(temperature=2),rltemp/cifar100-schedule"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(teacher_width=4, student_width=4, teacher_updates=2, updates=2, batch=2)
    monkeypatch.setattr(detect_command, "SETTINGS", {"digits": setting, "cells": setting})


@pytest.fixture
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    canvases = paste_digits(load_digits(), 4, torch.Generator().manual_seed(0), side=32, most=2)
    monkeypatch.setattr(detect_command, "load_data", lambda task, path: DetectionData(canvases, canvases, canvases))


@pytest.mark.usefixtures("_few_images")
def test_it_leaves_a_table_and_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["detect", "digits", "--students=2", "--runs", str(tmp_path)]
    assert main([*command, "--policy", "no-kd"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main([*command, "--policy", POLICIES, "--dry-run"]) == 0
    assert re.match(
        r"4 policies on 2 students of 2 updates: 6 of 8 runs are left to do, about \d+ min", capsys.readouterr().out
    )
    assert main([*command, "--policy", POLICIES, "--policy", "no-kd"]) == 0
    written = (tmp_path / "detect-digits" / "table.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out
    names = [line.split("|")[1].strip() for line in written.splitlines()]
    assert names[2:] == ["rltemp/cifar100-schedule (schedule)", "T = 1", "T = 2", "labels alone", "the teacher"]
    assert "reference" in written


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["cells"], "--data must be BCCD's folder or a zip archive of it for cells, got nothing"),
        (["digits", "--students=1"], "--students must be >= 2, got 1"),
        (["digits", "--policy=influence"], "policies must need no probe for detectors"),
        (["faces"], "invalid choice: 'faces'"),
        (["digits", "--teacher.seed=1"], "detect takes no values of a recipe, got --teacher.seed"),
    ):
        assert main(["detect", *words, "--runs", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_no_digit_stands_in_two_parts() -> None:
    data = load_data("digits", None)
    assert [len(part) for part in (data.training, data.validation, data.test)] == [400, 100, 200]
    assert len(data.training.names) == 10
