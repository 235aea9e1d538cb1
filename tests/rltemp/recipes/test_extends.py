"""A recipe may say only what differs from another."""

from pathlib import Path

import pytest

from rltemp.errors import InputError
from rltemp.recipes import load_recipe


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_extends_one_of_the_package(tmp_path: Path) -> None:
    path = _write(
        tmp_path, "longer.yaml", "extends: digits\noptimization: {epochs: 30}\nstudent: {options: {hidden: [8]}}"
    )
    expected = load_recipe("digits", {"optimization.epochs": 30, "student.options.hidden": [8]})
    assert load_recipe(path) == expected
    assert load_recipe(path, {"optimization.epochs": 2}).optimization.epochs == 2


def test_files_extend_files_beside_them(tmp_path: Path) -> None:
    _write(tmp_path, "base.yaml", "extends: digits\ndata: {train: 70, noise: 0.1}")
    _write(tmp_path, "inner/middle.yaml", "extends: ../base.yaml\ndata: {train: 80}")
    recipe = load_recipe(_write(tmp_path, "inner/top.yml", "extends: middle.yaml\nagent: {seed: 3}"))
    assert recipe == load_recipe("digits", {"data.train": 80, "data.noise": 0.1, "agent.seed": 3})


def test_a_file_that_extends_and_says_nothing_else_is_the_other(tmp_path: Path) -> None:
    assert load_recipe(_write(tmp_path, "same.yaml", "extends: digits-short")) == load_recipe("digits-short")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: 3", "extends must be the name or file of a recipe, got 3"),
        ("extends: [digits]", "extends must be the name or file of a recipe"),
        ("extends: digitz", "recipe must be one of"),
        ("extends: missing.yaml", "missing.yaml cannot be read"),
        ("extends: list.yaml", "the whole must be a mapping of values"),
        ("extends: odd.yaml", "extends must not come back to"),
        ("extends: loop.yaml", "extends must not come back to"),
        ("extends: digits\ndata: {trains: 3}", "unknown key 'data.trains'"),
    ],
)
def test_what_cannot_be_extended_is_refused(tmp_path: Path, text: str, message: str) -> None:
    _write(tmp_path, "list.yaml", "[1]")
    _write(tmp_path, "loop.yaml", "extends: odd.yaml")
    with pytest.raises(InputError, match=message) as refusal:
        load_recipe(_write(tmp_path, "odd.yaml", text))
    assert "\n" not in str(refusal.value)


def test_only_files_extend() -> None:
    with pytest.raises(InputError, match="unknown key 'extends'"):
        load_recipe("digits", {"extends": "digits-short"})
