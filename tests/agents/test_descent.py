"""Descent goes where credit in hindsight points, and a recipe can ask for it."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from rltemp.agents import train_policy
from rltemp.agents.descent import Descent
from rltemp.envs.contract import Floats
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.recipes import load_recipe
from tests.agents.toys import DESCENT, SMALL, make


def test_the_first_step_is_adams_along_the_gradient_of_the_effects() -> None:
    """Its sign is that of the mean over instances of slope times observation, in float64 by the known optimum."""
    learner = make(DESCENT)
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
    students = slopes.reshape(5, 4, 4)
    slopes = (students / np.sqrt((students**2).mean((0, 2), keepdims=True))).reshape(5, 16)
    inputs = np.concatenate([2.0 * observations - 1.0, np.ones((5, 16, 1))], axis=-1)
    gradient = (slopes[..., None] * inputs).mean((0, 1))
    moved = learner.weights()["weights"].numpy()
    assert np.abs(moved) == pytest.approx(DESCENT.learning_rate, rel=1e-3)
    assert np.sign(moved).tolist() == np.sign(gradient).tolist()


def test_an_environment_without_hindsight_is_refused() -> None:
    toy = ToyVectorEnv(DESCENT.students, autoreset_mode=AutoresetMode.DISABLED)
    toy.credit_kinds = frozenset({"uniform"})
    with pytest.raises(InputError, match="env must credit in hindsight, got uniform"):
        Descent(toy, DESCENT)


def test_a_recipe_trains_a_policy_of_temperature_scale_and_labels_weight() -> None:
    recipe = load_recipe(
        "digits-short",
        {
            **SMALL,
            "policy": {
                **{"alignment": "none", "features": ["progress", "teacher_correct"]},
                **{"scale_range": [1.0, 256.0], "label_range": [0.125, 8.0]},
            },
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
