"""What docs/data.md says of sources is so."""

import re
from pathlib import Path

import pytest
import torch

from rltemp.distillation import DistillationRun, score
from rltemp.experiments.cli import main
from rltemp.recipes import load_recipe
from rltemp.tasks import build_task, list_sources, register_source
from rltemp.tasks.sources import registry
from rltemp.temperatures import Temperatures

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"<!-- tests run this -->\n```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_names_every_source() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE) == list(list_sources())


def test_a_student_learns_what_the_source_of_the_page_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    names: dict[str, type] = {}
    exec(CODE, names)
    register_source("rings", names["Rings"])
    recipe = load_recipe(
        "digits-short", {"data": {"name": "rings", "shift": 0, "noise": 0.0}, "teacher": {"members": 1, "epochs": 10}}
    )
    task = build_task(recipe)
    run = DistillationRun(task, [0])
    while not run.finished:
        run.observe()
        run.update(Temperatures.shared(torch.full((32,), 2.0)))
    majority = task.test.targets.bincount().max() / len(task.test)
    assert float(score(run.students, task.test, task.augmentation).accuracy) > float(majority) + 0.1


def test_the_command_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rings.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    (command,) = re.findall(r"^PYTHONPATH=\. uv run rltemp (.*)$", PAGE, re.MULTILINE)
    assert main([*command.split(), "--print-config"]) == 0, capsys.readouterr().err
    assert main(command.replace(" --allow-code", "").split()) == 2
