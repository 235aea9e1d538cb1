"""Advantages in hindsight: what an action did to the end, against what the policy would have done there."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rltemp.agents.credit import hindsight as module
from rltemp.agents.credit.hindsight import HindsightPPO, hindsight_advantages
from rltemp.agents.train import train_policy
from rltemp.agents.trainer import Trainer
from rltemp.distillation import Task
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.recipes import Recipe
from rltemp.recipes.schema import Agent

AGENT = Agent(students=3, hidden=(5,), credit="hindsight")


def draw(seed: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    # Steps of very different sizes, as they are along a run.
    size = 10.0 ** generator.uniform(-6, 3, (7, 1))
    return size * generator.normal(size=(7, 12)), size * generator.normal(size=(7, 12))


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_only_the_difference_counts_and_no_steps_unit(seed: int, factor: float) -> None:
    effects, usual = draw(seed)
    advantages = hindsight_advantages(effects, usual)
    np.testing.assert_allclose(advantages, hindsight_advantages(factor * effects, factor * usual), rtol=1e-4, atol=1e-5)
    shift = np.abs(effects).max(axis=1, keepdims=True)
    np.testing.assert_allclose(advantages, hindsight_advantages(effects + shift, usual + shift), rtol=1e-3, atol=1e-3)
    assert np.all(np.sign(advantages) == np.sign(effects - usual))
    assert np.abs(advantages).max() <= 3.0


@given(st.integers(0, 2**32 - 1))
def test_better_than_usual_is_good_and_sizes_are_root_mean_squares_of_a_step(seed: int) -> None:
    effects, usual = draw(seed)
    difference = effects - usual
    for step, row in enumerate(hindsight_advantages(effects, usual)):
        size = float(np.sqrt(np.mean(difference[step] ** 2)))
        np.testing.assert_allclose(row, [min(max(d / size, -3.0), 3.0) for d in difference[step]], rtol=1e-5)


def test_one_instance_does_not_outvote_all() -> None:
    effects = np.zeros((1, 1000))
    effects[0, 0] = 1e6
    assert hindsight_advantages(effects, np.zeros_like(effects))[0, 0] == 3.0


def test_the_usual_actions_are_worth_nothing() -> None:
    effects, _ = draw(0)
    assert not hindsight_advantages(effects, effects).any()


class Remembering(ToyVectorEnv):
    """Answers after the update what was asked before it."""

    def forget(self) -> None: ...


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_rollout_is_credited_with_effects_and_returns(weight: float) -> None:
    env = Remembering(3, batch_size=4, horizon=5)
    trainer = Trainer(env, dataclasses.replace(AGENT, n_epochs=1, minibatches=1, return_weight=weight))
    model = trainer.model
    assert isinstance(model, HindsightPPO)
    kept: dict[str, Any] = {}

    train = model.train

    def keep_and_train() -> None:
        # The update moves the policy.
        buffer = model.rollout_buffer
        seen = torch.from_numpy(buffer.observations)
        kept["usual"] = torch.stack([model.policy._predict(step, deterministic=True) for step in seen]).detach().numpy()
        kept["buffer"] = {name: getattr(buffer, name).copy() for name in ("actions", "advantages", "returns", "values")}
        train()

    model.train = keep_and_train  # type: ignore[method-assign]
    trainer.rollout()
    buffer = kept["buffer"]
    effects = [env.effects(np.clip(actions[..., 0], -1, 1)) for actions in (buffer["actions"], kept["usual"])]
    rewards = buffer["returns"] - buffer["values"]
    expected = hindsight_advantages(*effects) + weight * rewards / rewards.std()
    np.testing.assert_allclose(buffer["advantages"], expected, rtol=1e-3, atol=1e-4)


def test_credit_that_was_used_is_forgotten() -> None:
    env = ToyVectorEnv(3, batch_size=4, horizon=5)
    trainer = Trainer(env, AGENT)
    for _ in range(2):
        trainer.rollout()
        with pytest.raises(InputError, match="an episode that came to its end"):
            env.effects(np.zeros((5, 12), np.float32))


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match=f"return_weight must be >= 0 and finite, got {weight}"):
        Trainer(ToyVectorEnv(3, batch_size=4), dataclasses.replace(AGENT, return_weight=weight))


def test_an_agent_learns_the_same_from_checkpoints(tiny_recipe: Recipe, tiny_task: Task) -> None:
    weights = []
    for checkpoints in ("none", "auto"):
        changes: dict[str, Any] = {"students": 2, "rollouts": 1, "hidden": (4,), "n_epochs": 2, "keep": "last"}
        agent = dataclasses.replace(tiny_recipe.agent, checkpoints=checkpoints, **changes)
        policy = train_policy(dataclasses.replace(tiny_recipe, agent=agent), task=tiny_task)
        weights.append(torch.cat([parameter.flatten() for parameter in policy.parameters()]))
    assert torch.equal(*weights)


def test_a_policy_is_asked_in_parts_of_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = []
    for rows in (1 << 18, 7):
        monkeypatch.setattr(module, "ROWS", rows)
        model = Trainer(ToyVectorEnv(3, batch_size=4, horizon=5), AGENT).model
        assert isinstance(model, HindsightPPO)
        model.rollout_buffer.observations = np.random.default_rng(0).random((5, 12, 3), dtype=np.float32)
        usual.append(model._usual())
    np.testing.assert_allclose(usual[0], usual[1], rtol=1e-4, atol=1e-6)
