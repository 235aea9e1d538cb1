"""Descent goes where credit in hindsight points, repeats itself, and resumes to the bit."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from rltemp.agents import train_policy
from rltemp.agents.descent import Descent
from rltemp.envs.contract import Floats
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.features import LogitFeatures
from rltemp.recipes import load_recipe
from rltemp.recipes.schema import Agent, PolicySpace

AGENT = Agent(learner="descent", credit="hindsight", students=4, rollouts=60, hidden=(), learning_rate=0.1)
SPACE = PolicySpace(low=0.5, high=32.0)
FEATURES = LogitFeatures(("progress", "teacher_margin", "student_margin"))


def make(agent: Agent = AGENT) -> Descent:
    toy = ToyVectorEnv(agent.students, batch_size=4, horizon=5, autoreset_mode=AutoresetMode.DISABLED)
    return Descent(toy, agent)


def regret(learner: Descent) -> float:
    """Mean squared distance of the exported policy's action from the known optimum."""
    observations = np.random.default_rng(1).random((500, 3), dtype=np.float32)
    t = learner.export(FEATURES, SPACE, {}).temperature(torch.from_numpy(observations))
    actions = 2.0 * np.log(t.numpy() / 0.5) / np.log(64.0) - 1.0
    return float(np.mean((actions - ToyVectorEnv.best_actions(observations)) ** 2))


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_the_toy_is_learned(hidden: tuple[int, ...]) -> None:
    learner = make(dataclasses.replace(AGENT, hidden=hidden))
    assert regret(learner) == pytest.approx(1.6**2 / 12, rel=0.15)  # it begins at 0
    for _ in range(AGENT.rollouts):
        learner.rollout()
    assert regret(learner) < 0.02
    assert learner.history[-1]["return"] > learner.history[0]["return"]


def test_the_first_step_is_adams_along_the_gradient_of_the_effects() -> None:
    """Its sign is that of the mean over instances of slope times observation, in float64 by the known optimum."""
    learner = make()
    env = learner._env
    assert isinstance(env, ToyVectorEnv)
    seen: list[Floats] = []
    observe = env._observe

    def noted() -> Floats:
        seen.append(observe())
        return seen[-1]

    env._observe = noted  # type: ignore[method-assign]
    learner.rollout()
    observations = np.stack(seen[:-1]).reshape(5, 16, 3)
    slopes = 2.0 * ToyVectorEnv.best_actions(observations).astype(np.float64)  # of -(a - best)^2 at a = 0
    slopes = np.clip(slopes / np.sqrt((slopes**2).mean(1, keepdims=True)), -3, 3)
    inputs = np.concatenate([2.0 * observations - 1.0, np.ones((5, 16, 1))], axis=-1)
    gradient = (slopes[..., None] * inputs).mean((0, 1))
    moved = learner.weights()["weights"].numpy()
    assert np.abs(moved) == pytest.approx(AGENT.learning_rate, rel=1e-3)
    assert np.sign(moved).tolist() == np.sign(gradient).tolist()


def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit() -> None:
    unbroken, broken, resumed = make(), make(), make()
    for _ in range(4):
        unbroken.rollout()
    for _ in range(2):
        broken.rollout()
    resumed.load_state_dict(broken.state_dict())
    for _ in range(2):
        resumed.rollout()
    assert resumed.history == unbroken.history
    assert torch.equal(resumed.weights()["weights"], unbroken.weights()["weights"])


@pytest.mark.parametrize("change", [{"rollouts": 61}, {"seed": 1}])
def test_a_state_of_other_settings_is_refused(change: dict[str, Any]) -> None:
    state = make().state_dict()
    with pytest.raises(InputError, match=rf"agent\.{next(iter(change))} must be"):
        make(dataclasses.replace(AGENT, **change)).load_state_dict(state)


def test_an_environment_without_hindsight_is_refused() -> None:
    toy = ToyVectorEnv(AGENT.students, autoreset_mode=AutoresetMode.DISABLED)
    toy.credit_kinds = frozenset({"uniform"})
    with pytest.raises(InputError, match="env must credit in hindsight, got uniform"):
        Descent(toy, AGENT)


def test_a_recipe_trains_a_policy_of_temperature_and_scale() -> None:
    recipe = load_recipe(
        "digits-short",
        {
            "data": {"train": 32, "validation": 16},
            "teacher": {"members": 1, "epochs": 1, "network": {"options": {"hidden": [8]}}},
            "optimization": {"epochs": 2, "batch_size": 16},
            "policy": {"alignment": "none", "scale_range": [1.0, 256.0], "features": ["progress", "teacher_correct"]},
            "agent": {
                **{"learner": "descent", "credit": "hindsight", "objective": "soft-error", "keep": "last"},
                **{"students": 2, "rollouts": 3, "hidden": [], "reward_every": 4, "checkpoints": "auto"},
            },
        },
    )
    first, second = train_policy(recipe), train_policy(recipe)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.card["training"]["algorithm"] == "gradient descent"
    assert all(bool(parameter.any()) for parameter in first.parameters())
