"""Weights and states of strangers, of runs that were cut short, and of caches."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import rltemp
from rltemp.agents.checkpoint import load_checkpoint as load_trainer
from rltemp.agents.checkpoint import save_checkpoint
from rltemp.agents.trainer import Trainer
from rltemp.data.folder import _read as read_images
from rltemp.data.folder import list_images, load_image_folder
from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.envs.toy import ToyVectorEnv
from rltemp.networks import load_checkpoint, make_network
from rltemp.reading import restore
from rltemp.recipes import Recipe
from rltemp.recipes.schema import Agent
from rltemp.tasks.shelf import FolderShelf
from rltemp.tasks.teacher_bank import _read as read_bank
from rltemp.tasks.teachers import _load as read_teacher

Reader = tuple[Path, Callable[[], Any]]
Ending = Callable[[Callable[[], Any]], str]


def loading(load: Callable[[], None]) -> Callable[[], bool]:
    """A reader out of what fills an object that is there."""

    def read() -> bool:
        load()
        return True

    return read


def _network() -> nn.Module:
    return make_network("mlp", 3, (4,), torch.Generator().manual_seed(0), hidden=(5,))


def _saved(folder: Path, **options: Any) -> Path:
    torch.save({"model": _network().state_dict(), "epoch": 3, "names": ["a", "b"]}, folder / "teacher.pth", **options)
    return folder / "teacher.pth"


def teacher(folder: Path) -> Reader:
    path = _saved(folder)
    return path, loading(lambda: load_checkpoint(_network(), path))


def old_teacher(folder: Path) -> Reader:
    path = _saved(folder, _use_new_zipfile_serialization=False)
    return path, loading(lambda: load_checkpoint(_network(), path))


def safe_teacher(folder: Path) -> Reader:
    path = folder / "teacher.safetensors"
    path.write_bytes(safetensors.torch.save(_network().state_dict()))
    return path, loading(lambda: load_checkpoint(_network(), path))


def kept_teacher(folder: Path) -> Reader:
    path, _ = safe_teacher(folder)
    members = nn.ModuleList([_network()])
    path.write_bytes(safetensors.torch.save(members.state_dict()))
    return path, lambda: read_teacher(nn.ModuleList([_network()]), FolderShelf(folder).read("teacher"))


def kept_bank(folder: Path) -> Reader:
    path = folder / "logits.safetensors"
    path.write_bytes(safetensors.torch.save({"logits": torch.randn(20, 3, generator=torch.Generator().manual_seed(0))}))
    return path, lambda: read_bank(FolderShelf(folder), "logits", 20) is not None


def _tree(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / "tree" / name)
    return folder / "tree"


def kept_images(folder: Path) -> Reader:
    tree = _tree(folder)
    load_image_folder(tree, cache=folder / "cache")
    (path,) = (folder / "cache").iterdir()
    files = list_images(tree)
    return path, lambda: read_images(path, files) is not None


def policy(folder: Path) -> Reader:
    rltemp.save_policy(rltemp.LearnedPolicy(rltemp.LogitFeatures(), (4,)), folder / "policy")
    return folder / "policy" / "policy.safetensors", lambda: rltemp.load_policy(folder / "policy")


def trainer(folder: Path) -> Reader:
    def make() -> Trainer:
        return Trainer(ToyVectorEnv(2, batch_size=3, horizon=5), Agent(students=2, hidden=(8,), minibatches=2))

    save_checkpoint(make(), folder / "checkpoint.pt")
    return folder / "checkpoint.pt", loading(lambda: load_trainer(make(), folder / "checkpoint.pt"))


READERS: dict[str, Callable[[Path], Reader]] = {
    "teacher": teacher,
    "old teacher": old_teacher,
    "safetensors teacher": safe_teacher,
    "kept teacher": kept_teacher,
    "kept logits": kept_bank,
    "kept images": kept_images,
    "policy": policy,
    "trainer": trainer,
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_ends_in_a_value_or_in_our_error(name: str, fuzz: Callable[..., None], tmp_path: Path) -> None:
    fuzz(READERS[name](tmp_path))


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file_is_refused_at_once(
    name: str, refuse_other_files: Callable[[Reader], None], tmp_path: Path
) -> None:
    refuse_other_files(READERS[name](tmp_path))


@pytest.mark.parametrize("name", ["teacher", "trainer"])
def test_a_pickle_that_says_something_else_ends_in_a_value_or_in_our_error(
    name: str, fuzz: Callable[..., None], tmp_path: Path
) -> None:
    fuzz(READERS[name](tmp_path), within=True)


@pytest.fixture
def make(tiny_task: Task, tiny_recipe: Recipe) -> Callable[[], PolicyRun]:
    return lambda: PolicyRun(tiny_task, [rltemp.make_policy("static")], [3], tiny_recipe.policy)


@pytest.mark.parametrize("within", [False, True])
def test_a_damaged_run_ends_in_a_value_or_in_our_error(
    within: bool, make: Callable[[], PolicyRun], fuzz: Callable[..., None], tmp_path: Path
) -> None:
    begun, path = make(), tmp_path / "run.pt"
    begun.advance()
    torch.save(begun.state_dict(), path)
    fuzz((path, loading(lambda: restore(make().load_state_dict, path))), within)


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of nested dicts and lists with each of its keys."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield content, key
        if isinstance(value, dict | list):
            yield from places(value)


WRONG: list[Any] = [None, "x", -1, 10**30, math.nan, [], {}, torch.zeros(3), torch.zeros(64, dtype=torch.int64)]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_run_takes_a_state_up_and_goes_on_with_it_or_refuses_it(
    wrong: Any, make: Callable[[], PolicyRun], ending: Ending, tmp_path: Path
) -> None:
    begun, path = make(), tmp_path / "run.pt"
    begun.advance()
    for number in range(len(list(places(begun.state_dict())))):
        state = copy.deepcopy(begun.state_dict())
        parent, key = list(places(state))[number]
        parent[key] = wrong
        torch.save(state, path)
        resumed = make()
        if ending(loading(lambda resumed=resumed: restore(resumed.load_state_dict, path))) == "read":  # type: ignore[misc]
            resumed.advance()
