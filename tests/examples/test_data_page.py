"""What docs/data.md says of sources is so."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rltemp.distillation import DistillationRun, score
from rltemp.experiments.cli import main
from rltemp.recipes import load_recipe
from rltemp.tasks import build_task, list_sources, register_source
from rltemp.tasks.sources import registry
from rltemp.temperatures import Temperatures

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"<!-- tests run this -->\n```python\n(.*?)```", PAGE, re.DOTALL)


SMALL = {
    "data.train": 16,
    "data.validation": 8,
    "teacher.epochs": 1,
    "optimization.epochs": 1,
    "optimization.batch_size": 8,
    "agent.rollouts": 1,
}


def write_photos(folder: Path) -> None:
    """Pictures of many sizes in two classes that differ in lightness."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 4)):
        for shade in (0, 1):
            (folder / part / str(shade)).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(100 * shade, 100 * shade + 150, (*rng.integers(30, 50, 2), 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / str(shade) / f"{number}.jpg")


def test_a_folder_of_pictures_becomes_a_policy_a_table_and_a_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(Path("data/photos"))
    (recipe,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    Path("photos.yaml").write_text(recipe)
    commands = re.findall(r"^uv run rltemp (\w+ photos\.yaml.*)$", PAGE, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["train", "evaluate", "distill"]
    for command in commands:
        words = command.replace("--students 4", "--students 2 --policy static(temperature=2) --no-references").split()
        assert main([*words, *(f"--{name}={value}" for name, value in SMALL.items())]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    for line in ("policy: runs/photos/train/policy", "photos/train (logits)", "report: ", "test accuracy "):
        assert line in said
    names = {name: torch.randn(6, 2) for name in ("student_logits", "teacher_logits")}
    (code,) = re.findall(r"<!-- tests/examples/test_data_page.py runs this -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    loop: dict[str, Any] = {**names, "targets": torch.arange(6) % 2, "progress": 0.5}
    exec(code, loop)
    assert loop["loss"] > 0


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
