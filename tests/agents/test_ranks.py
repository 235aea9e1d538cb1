"""Two processes that train one policy, each half of a rollout's students: the policy of one process."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rltemp.agents.learner import Learner
from rltemp.agents.train import train_policy
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.envs.contract import Floats, Transition, draw_seeds
from rltemp.envs.vector import DistillationVectorEnv
from rltemp.errors import InputError
from rltemp.recipes import change_recipe, load_recipe
from rltemp.tasks import build_task

RECIPE = load_recipe(
    "digits-short",
    {
        "data": {"train": 64, "validation": 50},
        "teacher": {"network": {"options": {"hidden": [8]}}, "members": 1, "epochs": 2},
        "student": {"options": {"hidden": [8]}},
        "optimization": {"epochs": 1, "batch_size": 8},
        "policy": {"probe_size": 16},
        "agent": {"students": 4, "rollouts": 3, "hidden": [8], "n_epochs": 2, "minibatches": 2, "keep": "last"},
    },
)
EVOLUTION = {"agent.learner": "evolution", "agent.credit": "uniform"}
WAYS: dict[str, dict[str, Any]] = {"hindsight": {}, "influence": {"agent.credit": "influence"}, "evolution": EVOLUTION}


class Half(Ranks):
    """One of two processes that asks nobody else."""

    def gather(self, do: Callable[[], Any]) -> list[Any]:
        return [do()]


class TwoHalves(DistillationVectorEnv):
    """The students of both processes in one: each half by itself, which rounds as two processes do."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "ranks": ALONE})
        self._halves = [DistillationVectorEnv(*arguments, **{**options, "ranks": Half(i, 2)}) for i in range(2)]

    def start_episode(self, task: int) -> Floats:
        seeds = draw_seeds(self.np_random, self.students, self._twins)
        return np.concatenate([half._begin(task, seeds[half._own]) for half in self._halves])

    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        seen, transitions = zip(*(half.advance(actions) for half in self._halves), strict=True)
        fields = [field.name for field in dataclasses.fields(Transition)]
        parts = {name: [getattr(transition, name) for transition in transitions] for name in fields}
        known = {name: np.concatenate(values) for name, values in parts.items() if values[0] is not None}
        return np.concatenate(seen), Transition(**known)

    def effects(self, actions: Floats) -> Floats:
        return np.concatenate([half.effects(actions) for half in self._halves], axis=-1)

    def forget(self) -> None:
        for half in self._halves:
            half.forget()


def train(way: str, ranks: Ranks, folder: Path, **options: Any) -> Any:
    """The weights of the policy and the metrics of every rollout, of a training that may be interrupted."""
    history: list[dict[str, float]] = []

    def note(trainer: Learner) -> None:
        history[:] = trainer.history

    recipe = change_recipe(RECIPE, WAYS[way])
    hooks = [note, *options.pop("hooks", [])]
    policy = train_policy(recipe, task=build_task(RECIPE), run_dir=folder, ranks=ranks, callbacks=hooks, **options)
    return policy.state_dict(), history


def interrupt(trainer: Learner) -> None:
    if len(trainer.history) == 2:
        raise KeyboardInterrupt


def train_rank(rank: int, folder: Path) -> dict[str, Any]:
    """Trained in every way, and once with an interruption; every rank has a disk of its own."""
    ranks = Ranks(rank, 2)
    answers = {way: train(way, ranks, folder / f"{rank}" / way) for way in WAYS}
    broken = folder / f"{rank}" / "broken"
    with pytest.raises(KeyboardInterrupt):
        train("hindsight", ranks, broken, hooks=[interrupt])
    return {**answers, "resumed": train("hindsight", ranks, broken, resume=True)}


def test_two_processes_train_the_policy_of_one(
    in_two_ranks: Callable[[Callable[[int, Path], Any]], list[Any]], tmp_path: Path
) -> None:
    first, second = in_two_ranks(train_rank)
    for way in WAYS:
        _, history = train(way, ALONE, tmp_path / "alone" / way)
        # Students round by how many stand side by side, of which an agent's learning makes more in every rollout.
        assert first[way][1][0] == pytest.approx(history[0], rel=1e-2, abs=1e-3)
        assert first[way][1][0]["return"] == pytest.approx(history[0]["return"], rel=1e-4)
    for ours, whole in zip(first["resumed"], first["hindsight"], strict=True):
        assert str(ours) == str(whole)
    written = sorted(path.name for path in (tmp_path / "0" / "hindsight").iterdir())
    assert written == ["checkpoint.pt", "metrics.csv", "tensorboard"]
    assert not (tmp_path / "1").exists()

    for way in WAYS:
        weights, history = train(way, ALONE, tmp_path / "halves" / way, make_env=TwoHalves)
        assert history == first[way][1] == second[way][1]
        for name, value in weights.items():
            assert torch.equal(first[way][0][name], value)
            assert torch.equal(second[way][0][name], value)


def test_students_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^agent\.students must be a multiple of the 3 processes of this run, got 4$"):
        train("hindsight", Ranks(1, 3), tmp_path / "run")
    assert not (tmp_path / "run").exists()
