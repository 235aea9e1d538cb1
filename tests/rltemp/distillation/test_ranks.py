"""Two processes that share every minibatch of a run: what one process does, up to rounding."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rltemp
from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.ranks import ALONE, Ranks, RefusedElsewhereError
from rltemp.errors import DivergenceError, InputError
from rltemp.recipes import load_recipe
from rltemp.recipes.schema import PolicySpace
from rltemp.tasks import build_task

InTwoRanks = Callable[[Callable[[int, Path], Any]], list[Any]]

POLICIES = (
    "static",
    "random",
    "ctkd",
    "ctkd-instance",
    "dtkd",
    "normkd",
    "adakd",
    "spread",
    "general",
    "rltemp/digits",
    "rltemp/digits-softness",
)
SPACE = PolicySpace(probe_size=16)
UPDATES = 6


def make_task(**changes: Any) -> Task:
    recipe = load_recipe(
        "digits-short",
        {
            "data": {"train": 64, "validation": 50},
            "teacher": {"network": {"options": {"hidden": [8]}}, "members": 1, "epochs": 2},
            "student": {"options": {"hidden": [8]}},
            "optimization": {"epochs": 1, "batch_size": 8},
            **changes,
        },
    )
    return build_task(recipe)


def make_policy(name: str) -> rltemp.TemperaturePolicy:
    return rltemp.load_policy(name) if "/" in name else rltemp.make_policy(name)


def run(task: Task, name: str, ranks: Ranks, space: PolicySpace = SPACE) -> dict[str, Tensor]:
    """What two students of a run come to, and what temperatures they had."""
    whole = PolicyRun(dataclasses.replace(task, ranks=ranks), [make_policy(name)] * 2, [3, 11], space)
    chosen = []
    for _ in range(UPDATES):
        whole.advance(lambda seen, temperatures: chosen.append(temperatures.student.detach()))
    state = whole.state_dict()["run"]
    return {**state["students"], **state["companion"], "temperatures": torch.stack(chosen)}


def train(rank: int, folder: Path) -> dict[str, dict[str, Tensor]]:
    task = make_task()
    return {name: run(task, name, Ranks(rank, 2)) for name in POLICIES}


def close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(value, b[name], rtol=1e-4, atol=1e-6, msg=lambda m: f"{name}: {m}")


def test_all(in_two_ranks: InTwoRanks) -> None:
    first, second = in_two_ranks(train)
    task = make_task()
    for name in POLICIES:
        alone = run(task, name, ALONE)
        print(name, [float((alone[k]-first[name][k]).abs().max()) for k in alone if isinstance(alone[k], Tensor)])
        for k, v in first[name].items():
            if isinstance(v, Tensor):
                assert torch.equal(v, second[name][k]), (name, k)
    for name in POLICIES:
        close(run(task, name, ALONE), first[name])
