"""The study of a GPU at a hundredth of its length, on a CPU: all of it, cut and resumed."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rltemp.distillation.policy_run import PolicyRun
from rltemp.errors import InputError
from rltemp.experiments.bench.throughput import _tree
from rltemp.experiments.studies import gpu, gpu_speed
from rltemp.experiments.studies.gpu_page import VANILLA, Outcome, accuracy_table, expectation, speed_table
from rltemp.experiments.studies.gpu_speed import USUAL, Speed, ways
from rltemp.recipes import load_recipe

RECIPE = """
extends: cifar100-resnet56-resnet20
data: {validation: 8}
teacher: {network: {name: resnet8}, batch_size: 8}
student: {name: resnet8}
optimization: {batch_size: 8}
policy: {probe_size: 8}
"""
PAGE = """before
<!-- table speed -->
<!-- end of speed -->
<!-- table accuracy -->
old
<!-- end of accuracy -->
after
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the layout of CIFAR-100, and a recipe of small networks."""
    folder = tmp_path_factory.mktemp("gpu")
    with _tree(None) as root:
        shutil.copytree(root, folder / "data")
    (folder / "tiny.yaml").write_text(RECIPE)
    return folder


@pytest.fixture
def study(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The command, on these images."""
    monkeypatch.setattr("rltemp.experiments.bench.timing.MINIMUM_ROUNDS", 1)
    common = ["--recipe", str(place / "tiny.yaml"), "--data", str(place / "data"), "--length", "0.01"]
    sizes = ["--images", "16", "--views", "2", "--seeds", "2", "--seconds", "0"]
    return lambda *arguments: gpu.main([*common, *sizes, *arguments])


def test_the_whole_study_runs_and_does_nothing_twice(
    study: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "gpu.md"
    page.write_text(PAGE)
    arguments = ["--runs", str(tmp_path / "runs"), "--page", str(page)]
    study(*arguments)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    for name in (USUAL, *ways(2, compiled=False), *gpu.ARMS):
        assert f"| {name} |" in text
    assert "Error" not in text
    assert "static T, tuned: static(temperature=" in text
    monkeypatch.setattr(gpu, "play", None)
    monkeypatch.setattr(gpu, "measure_speed", None)
    study(*arguments)
    assert page.read_text() == text


def test_a_cut_run_goes_on_at_its_checkpoint_with_equal_bits(
    study: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(folder: Path) -> list[Any]:
        kept = [json.loads(path.read_text()) for path in folder.rglob("gpu/*/*.json") if path.name != "speed-2.json"]
        return sorted((result["validation_accuracy"], result["accuracy"], result["images"]) for result in kept)

    made, advance = 0, PolicyRun.advance

    def cut(self: PolicyRun, *arguments: Any) -> None:
        nonlocal made
        made += 1
        if made == 4:  # within the second of two epochs of two updates
            raise KeyboardInterrupt
        advance(self, *arguments)

    arms = ["--arms", "CTKD"]
    monkeypatch.setattr(gpu, "measure_speed", lambda *_: dict.fromkeys((USUAL, *ways(2, compiled=False)), Speed(1.0)))
    with monkeypatch.context() as patch:
        patch.setattr(PolicyRun, "advance", cut)
        with pytest.raises(KeyboardInterrupt):
            study(*arms, "--runs", str(tmp_path / "cut"))
    assert len(list(tmp_path.rglob("*.pt"))) == 1
    study(*arms, "--runs", str(tmp_path / "cut"))
    study(*arms, "--runs", str(tmp_path / "whole"))
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    assert not list(tmp_path.rglob("*.pt"))


def test_a_dry_run_does_nothing(study: Callable[..., None], tmp_path: Path, capsys: Any) -> None:
    study("--runs", str(tmp_path / "runs"), "--processes", "1", "--dry-run")
    assert "10 arms of 2 students, 2 epochs, 1 at a time" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    with pytest.raises(InputError, match=r"teacher.checkpoint must be a file, got nowhere.pth"):
        study("--teacher", "nowhere.pth", "--dry-run")
    with pytest.raises(InputError, match=r"--arms must be of .*, got 'kd'"):
        study("--arms", "kd", "--dry-run")


def test_the_fastest_way_is_taken() -> None:
    asked = ways(3, compiled=True)
    speeds = {name: Speed(10.0) for name in asked}
    speeds["3 students, stacked, compiled"] = Speed(0.0, trouble="does not compile")
    speeds["3 students, loop, compiled"] = Speed(11.0)
    speeds["one student, the teacher asked"] = Speed(99.0)
    assert gpu.fastest(speeds, asked) == {"execution.side_by_side": "loop", "execution.compile": True}


def test_a_way_that_fails_is_told_and_costs_no_other(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rltemp.experiments.bench.timing.MINIMUM_ROUNDS", 1)
    make = gpu_speed._advance

    def advance(task: Any, students: int) -> Any:
        if task.stacked:
            raise RuntimeError("no kernel")
        return make(task, students)

    monkeypatch.setattr(gpu_speed, "_advance", advance)
    changes = {"data.path": str(place / "data"), "data.train": 16, "teacher.checkpoint": None}
    recipe = load_recipe(str(place / "tiny.yaml"), changes)
    speeds = gpu_speed.measure_speed(recipe, str(place / "cache"), ways(2, compiled=False), torch.device("cpu"), 0.0)
    assert speeds["2 students, stacked"].trouble == "RuntimeError: no kernel"
    assert all(speed.images > 0 for name, speed in speeds.items() if name != "2 students, stacked")
    assert "RuntimeError: no kernel" in speed_table(speeds)


def test_the_table_pairs_students_and_says_whether_vanilla_is_where_it_was_published() -> None:
    vanilla = Outcome(np.array([0.70, 0.71, 0.72]), 10.0, 1000)
    other = Outcome(np.array([0.71, 0.72, np.nan]), 5.0, 1000)
    table = accuracy_table({VANILLA: vanilla, "CTKD": other}, {VANILLA: 70.66})
    row = next(line for line in table.splitlines() if line.startswith("| CTKD"))
    assert "+1.00 [+1.00, +1.00]" in row
    assert "2, 1 diverged" in row
    assert row.endswith("| 200 |")
    assert "0.34 points from the published 70.66, as expected" in expectation({VANILLA: vanilla}, {VANILLA: 70.66})[0]
    low = dataclasses.replace(vanilla, accuracy=vanilla.accuracy - 0.01)
    assert "not as expected" in expectation({VANILLA: low}, {VANILLA: 70.66})[0]
    assert expectation({VANILLA: low}, {}) == []


def test_a_run_that_diverges_is_kept_as_trouble() -> None:
    unit = gpu.Unit("ctkd", (0, 1), 2)
    outcome = gpu.collect({"CTKD": [unit]}, {unit: {"trouble": "student 0 diverged"}})["CTKD"]
    assert np.isnan(outcome.accuracy).all()
    assert "2 diverged" in accuracy_table({VANILLA: Outcome(np.ones(2), 1.0, 1), "CTKD": outcome}, {})
