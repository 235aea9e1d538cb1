"""`rltemp arena` from its command line to its report, on data of one's own."""

import re
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from rltemp.experiments.cli import main
from rltemp.experiments.commands.arena_options import _told_apart
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.tuning.spaces import RULES
from rltemp.presets import list_presets
from rltemp.pretrained import pretrained_folder

SMALL: dict[str, Any] = {
    "data": {"train": 64, "validation": 50},
    "teacher": {"network": {"name": "mlp", "options": {"hidden": [8]}}, "members": 1, "epochs": 2},
    "student": {"name": "mlp", "options": {"hidden": [8]}},
    "optimization": {"epochs": 1, "batch_size": 8},
    "policy": {"probe_size": 32},
}
QUICK = ["--conditions=clean", "--budgets=1", "--students=2", "--trials=3", "--policy=rltemp/digits-logits"]
QUICK += ["--processes=1"]

SOURCE = """
import torch
from rltemp.data import Dataset
from rltemp.tasks import Source, SourceLoader


class Halves(SourceLoader):
    line = "vectors by the larger of their halves"
    needs_path = False

    def load(self, settings, cache):
        images = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))
        return Source(Dataset(images, (images[:, :4].sum(1) > images[:, 4:].sum(1)).long(), 2))
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_recipe(file: str, /, **data: Any) -> str:
    Path(file).write_text(yaml.safe_dump({**SMALL, "data": {**SMALL["data"], **data}}), encoding="utf-8")
    return file


def test_a_source_of_ones_own_from_the_command_line_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "arena_halves.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["arena", write_recipe("halves.yaml", name="arena_halves:Halves", shift=0), *QUICK]
    assert main(arguments) == 2
    assert "give --allow-code to allow it" in capsys.readouterr().err

    assert main([*arguments, "--allow-code", "--dry-run"]) == 0
    announced = re.findall(r"\d+", capsys.readouterr().out)
    assert announced[:2] == ["1", str(3 + len(RULES) + 1 + len(_methods()))]
    assert announced[1] == announced[2]
    assert not Path("runs").exists()

    assert main([*arguments, "--allow-code"]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines()[-1] == f"report: {Path('runs/arena/report.html')}"
    text, page = (Path("runs/arena", name).read_text(encoding="utf-8") for name in ("arena.md", "report.html"))
    for method in (*_methods(), "the teacher"):
        assert method in text.replace("\\", "")
        assert method in page
        assert method[:20] in out
    assert "halves, clean" in out
    command = "rltemp arena halves.yaml --conditions clean --budgets 1 --methods all --policy rltemp/digits-logits"
    assert f"{command} --data data --students 2 --trials 3 --allow-code" in page

    before = {path: path.read_bytes() for path in Path("runs/arena").rglob("*") if path.is_file()}
    assert main([*arguments, "--allow-code", "--dry-run"]) == 0
    _, works, left, runs, updates, *_ = re.findall(r"\d+", capsys.readouterr().out)
    assert (works, left, runs, updates) == (announced[1], "0", "0", "0")
    assert main([*arguments, "--allow-code"]) == 0
    assert {path: path.read_bytes() for path in Path("runs/arena").rglob("*") if path.is_file()} == before


def _methods() -> list[str]:
    """Whatever is measured in the arena of one task with a policy that takes no more than a static temperature."""
    rules = [f"{name}, tuned" for name in ("static", "schedule", *(rule.name for rule in RULES))]
    presets = [f"preset({name})" for name in list_presets() if not name.endswith("imagenet")]
    return ["labels alone", "T = 4, T²", *rules, *presets, "rltemp/digits-logits"]


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 180), ("test", 10)):
        for shade in (0, 1):
            (folder / part / f"class {shade}").mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(100 * shade, 100 * shade + 150, (6, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / f"class {shade}" / f"{number}.png")


def test_a_folder_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "shades")
    recipe = write_recipe("shades.yaml", name="folder", path="shades", image_size=6)
    assert main(["arena", recipe, *QUICK, "--dry-run", "--conditions=clean,junk,few,small"]) == 0
    assert capsys.readouterr().out.startswith("4 cells, ")
    write_recipe("shades.yaml", name="folder", path="shades", image_size=6, train=250)
    assert main(["arena", recipe, *QUICK]) == 2
    assert "data.pool 'arena': sizes must be >= 1 each and fit into 240 instances" in capsys.readouterr().err
    assert not Path("runs/arena/work").exists() or not list(Path("runs/arena/work").glob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digts"], "did you mean 'digits'?"),
        (["nothing.yaml"], "nothing.yaml cannot be read"),
        (["digits", "digits"], "each task must be named once, got digits twice"),
        (["digits", "--conditions=dirty"], "--conditions must be of clean, noise15, "),
        (["digits", "--conditions=clean,clean"], "--conditions must list each value once"),
        (["digits", "--conditions="], "--conditions must list each value once"),
        (["digits", "--methods=kd"], "--methods must be all, none, or of spread, ctkd, "),
        (["digits", "--methods=dtkd,dtkd"], "--methods must list each value once"),
        (["digits", "--budgets=0"], "--budgets must be whole numbers in [1, 1000], got '0'"),
        (["digits", "--budgets=1,1"], "--budgets must list each value once"),
        (["digits", "--budgets=1,01"], "--budgets must be whole numbers"),
        (["digits", "--budgets=1,\N{FULLWIDTH DIGIT ONE}"], "--budgets must be whole numbers"),
        (["digits", "--budgets=x"], "--budgets must be whole numbers in [1, 1000], got 'x'"),
        (["digits", "--budgets=1.5"], "--budgets must be whole numbers"),
        (["digits", "--budgets=1001"], "--budgets must be whole numbers"),
        (["digits", "--budgets=" + "9" * 5000], "--budgets must be whole numbers"),
        (["fashion"], "data/fashion"),
        (["fashion", "--data=nowhere"], "nowhere/fashion"),
        (["digits", "--students=1"], "--students must be >= 2, got 1"),
        (["digits", "--trials=2"], "--trials must be >= 3, got 2"),
        (["digits", "--processes=0"], "--processes must be >= 1, got 0"),
        (["digits", "--policy=nowhere"], "which does not exist"),
        (["digits", "--policy=rltemp/digits", "--policy=rltemp/digits"], "each policy must be given once"),
        (["digits", "--trainings=x"], "--trainings must read NAME=GLOB"),
        (["digits", "--optimization.lr=1"], "takes no values of a recipe"),
        (["digits", "--runs="], "--runs: must name a folder"),
        (["none.yaml", "--conditions=small"], "none cannot be under 'small': student.options must have widths"),
        (["disk.yaml", "--conditions=clean,junk"], "disk cannot be under 'junk': data.junk must be 0 where"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("none.yaml").write_text("student: {name: mlp, options: {hidden: []}}", encoding="utf-8")
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "images" / "test").mkdir()
    write_recipe("disk.yaml", name="folder", path="images", image_size=6, in_memory=False)
    assert main(["arena", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rltemp: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not Path("runs").exists()


def test_policies_that_share_what_they_are_called_are_told_apart(tmp_path: Path) -> None:
    paths = [str(tmp_path / first / "digits" / "train" / "policy") for first in ("a", "b")]
    for path in paths:
        copytree(pretrained_folder("rltemp/digits"), path)
    specs = [trained_policy(path) for path in [*paths, "rltemp/digits"]]
    assert specs[0].label == specs[1].label == "digits/train (aligned)"
    labels = [spec.label for spec in _told_apart(specs)]
    assert labels[2] == "rltemp/digits (aligned)"
    for label, path in zip(labels, paths, strict=False):
        assert label.startswith(path)
