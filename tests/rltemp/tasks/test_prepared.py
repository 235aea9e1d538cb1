"""A task for somebody at a keyboard: one teacher for all that ask for it, kept where the user says."""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium
import pytest
import torch

import rltemp.envs  # noqa: F401  registers the environments
from rltemp.agents import make_sb3_env, train_policy
from rltemp.distillation import Task
from rltemp.recipes import Recipe, change_recipe
from rltemp.tasks import cache_folder, prepare_task, teachers


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """One entry for every teacher that is trained; none is kept yet."""
    monkeypatch.setenv("RLTEMP_CACHE", str(tmp_path / "kept"))
    calls: list[int] = []
    train = teachers._train

    def counted(*arguments: object) -> object:
        calls.append(1)
        return train(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(teachers, "_train", counted)
    return calls


def test_all_that_build_a_recipe_share_its_teacher(
    tiny_recipe: Recipe, tiny_task: Task, trained: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = change_recipe(tiny_recipe, {"agent.rollouts": 1, "agent.students": 2})
    gymnasium.make("rltemp/Distillation-v0", recipe=recipe).close()
    gymnasium.make_vec("rltemp/Distillation-v0", num_envs=16, recipe=recipe).close()
    make_sb3_env(recipe, students=2).close()
    train_policy(recipe)
    assert trained == [1]
    for ours, theirs in zip(prepare_task(recipe).teacher.parameters(), tiny_task.teacher.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    # Nothing is shown where there is no terminal.
    assert capsys.readouterr() == ("", "")


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RLTEMP_CACHE", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"
    monkeypatch.delenv("RLTEMP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "rltemp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if sys.platform != "win32":
        assert cache_folder() == tmp_path / "home" / ".cache" / "rltemp"


def test_without_a_place_to_write_the_teacher_is_trained_again(
    tiny_recipe: Recipe, trained: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RLTEMP_CACHE", str(tmp_path / "file" / "inside"))
    assert cache_folder() is None
    prepare_task(tiny_recipe)
    prepare_task(tiny_recipe)
    assert trained == [1, 1]
