"""What docs/networks.md says is so."""

import re
from pathlib import Path

import pytest
import torch

from rltemp.experiments.cli import main
from rltemp.networks import register_network, registry
from rltemp.recipes import load_recipe
from rltemp.tasks import build_task
from rltemp.tasks.build import check_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"<!-- tests run this -->\n```python\n(.*?)```", PAGE, re.DOTALL)
(YAML,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "pets.yaml").write_text(YAML)
    (tmp_path / "pets").mkdir()
    recipe = load_recipe(str(tmp_path / "pets.yaml"), {"data.path": str(tmp_path / "pets")})
    assert recipe.student.name == "timm:mobilenetv3_small_050"
    assert recipe.optimization.batch_size == 64
    if "timm" in YAML:
        pytest.importorskip("timm")
    check_recipe(recipe)


def test_a_registered_network_is_trained_as_student_and_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    names: dict[str, type] = {}
    exec(CODE, names)
    register_network("patches", names["Patches"])
    patches = {"name": "patches", "options": {"width": 8}}
    recipe = load_recipe("digits-short", {"student": patches, "teacher": {"network": patches, "members": 1}})
    task = build_task(recipe)
    assert not task.stacked
    # Four patches of 4 x 4 px in grey.
    expected = 8 * (16 + 1) + 10 * (8 * 4 + 1)
    for network in (task.make_student(torch.Generator()), task.teacher.network):
        assert sum(value.numel() for value in network.parameters()) == expected


def test_the_command_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_networks.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    (command,) = re.findall(r"^PYTHONPATH=\. uv run rltemp (.*)$", PAGE, re.MULTILINE)
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
    assert main([*words, "--print-config"]) == 0, capsys.readouterr().err
    assert main([word for word in words if word != "--allow-code"]) == 2
    assert "would run code" in capsys.readouterr().err
