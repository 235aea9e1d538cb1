"""The exported policy is the agent's mean action, to the last step of the arithmetic."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import VecMonitor

from rltemp.agents.policy_io import export_policy, import_policy
from rltemp.agents.trainer import Trainer
from rltemp.agents.vec_env import VectorEnvAdapter, make_sb3_env
from rltemp.distillation.task import Task
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.features import LOGIT_FEATURES, LogitFeatures
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes.schema import Agent, PolicySpace, Recipe
from rltemp.temperatures import action_to_temperature, temperature_to_action

FEATURES = LogitFeatures(LOGIT_FEATURES)
SPACE = PolicySpace(low=0.5, high=32.0)


@pytest.fixture(scope="module")
def model() -> PPO:
    agent = Agent(students=2, hidden=(9, 7), learning_rate=0.05, n_epochs=20, target_kl=100.0)
    trainer = Trainer(ToyVectorEnv(2, batch_size=4, features=len(FEATURES)), agent)
    for _ in range(3):
        trainer.rollout()
    with torch.no_grad():
        # Large enough that some actions are clipped.
        for parameter in trainer.model.policy.action_net.parameters():
            parameter.mul_(20.0)
    return trainer.model


def test_it_equals_the_agents_deterministic_action(model: PPO) -> None:
    policy = export_policy(model, FEATURES, SPACE)
    observations = np.random.default_rng(0).uniform(-4, 4, (1000, len(FEATURES))).astype(np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    assert {-1.0, 1.0} <= set(actions.ravel().tolist())
    expected = 0.5 * 64.0 ** ((actions[:, 0].astype(np.float64) + 1.0) / 2.0)
    np.testing.assert_allclose(policy.temperature(torch.from_numpy(observations)).numpy(), expected, rtol=1e-5)


def test_it_equals_the_agent_after_its_way_over_the_disk(model: PPO, tmp_path: object) -> None:
    space = PolicySpace(low=1.0, high=8.0, scale=16.0)
    policy = export_policy(model, FEATURES, space, card={"training": {"rollouts": 3}})
    loaded = load_policy(save_policy(policy, f"{tmp_path}/policy"))
    observations = torch.rand(50, len(FEATURES), generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.temperature(observations), policy.temperature(observations))
    assert loaded.card == {"training": {"rollouts": 3}}
    assert (loaded.low, loaded.high, loaded.scale) == (1.0, 8.0, 16.0)


def test_training_on_does_not_change_what_was_exported(model: PPO) -> None:
    policy = export_policy(model, FEATURES, SPACE)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.01)
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name])


def test_other_features_and_other_networks_are_refused(model: PPO) -> None:
    fewer = LogitFeatures(LOGIT_FEATURES[:-1])
    with pytest.raises(InputError, match="features must be the"):
        export_policy(model, fewer, SPACE)
    with pytest.raises(InputError, match="features and space must be given for a model without an environment"):
        export_policy(model, FEATURES)


@pytest.mark.parametrize(
    ("squash", "options", "message"),
    [
        (False, {"activation": "relu"}, "clipped, got relu, clipped"),
        (False, {"squash": True}, "clipped, got tanh, squashed"),
        (True, {}, "squashed, got tanh, clipped"),
    ],
)
def test_what_training_cannot_continue_is_refused(squash: bool, options: dict[str, Any], message: str) -> None:
    policy = LearnedPolicy(FEATURES, (9, 7), **options)
    with pytest.raises(InputError, match=f"policy must have tanh between its layers and be {message}"):
        import_policy(fresh(squash=squash), policy)


def test_features_and_space_are_those_of_the_environment(tiny_recipe: Recipe, tiny_task: Task) -> None:
    recipe = dataclasses.replace(tiny_recipe, policy=PolicySpace(low=2.0, high=8.0, scale=16.0, alignment="none"))
    venv = VecMonitor(make_sb3_env(recipe, students=2, task=tiny_task))
    policy = export_policy(PPO("MlpPolicy", venv, device="cpu"))
    assert policy.features.names == LOGIT_FEATURES
    assert (policy.low, policy.high, policy.scale) == (2.0, 8.0, 16.0)


def played(policy: LearnedPolicy) -> float:
    """The return of an episode on the toy, of students that no agent learned from."""
    env = ToyVectorEnv(students=64, batch_size=1)
    observation, _ = env.reset(seed=9)
    total = 0.0
    for _ in range(env.horizon):
        actions = temperature_to_action(policy.temperature(torch.from_numpy(observation)), SPACE.low, SPACE.high)
        observation, reward, *_ = env.step(actions[:, None].numpy())
        total += float(reward.mean())
    return total


@pytest.mark.parametrize(
    ("kind", "steps", "options"),
    [
        (PPO, 6400, {"n_steps": 10, "batch_size": 80, "gamma": 1.0}),
        (SAC, 4800, {"batch_size": 128, "learning_starts": 320, "gamma": 0.9, "policy_kwargs": {"net_arch": [32, 32]}}),
    ],
)
def test_what_plain_sb3_has_learned_is_in_the_policy(
    kind: type[PPO | SAC], steps: int, options: dict[str, Any]
) -> None:
    venv = VectorEnvAdapter(ToyVectorEnv(students=32, batch_size=1))
    agent = kind("MlpPolicy", venv, learning_rate=3e-3, seed=0, device="cpu", **options)
    three = LogitFeatures(LOGIT_FEATURES[:3])
    before = played(export_policy(agent, three, SPACE))
    agent.learn(steps)
    # The best actions lie in [-0.8, 0.8], evenly: the best constant one, 0, earns -10 * 0.8^2 / 3.
    assert played(export_policy(agent, three, SPACE)) > -0.7 > -10 * 0.64 / 3 > before - 0.2


def fresh(hidden: tuple[int, ...] = (9, 7), **settings: bool) -> PPO:
    agent = Agent(students=2, hidden=hidden, **settings)  # type: ignore[arg-type]
    return Trainer(ToyVectorEnv(2, batch_size=4, features=len(FEATURES)), agent).model


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("hidden", [(), (9, 7)])
def test_what_stands_around_the_layers_is_in_the_policy_and_goes_on_from_it(
    hidden: tuple[int, ...], squash: bool
) -> None:
    agent = Agent(students=2, hidden=hidden, credit="uniform", whiten=True, squash=squash, learning_rate=0.05)
    trainer = Trainer(ToyVectorEnv(2, batch_size=4, features=len(FEATURES)), agent)
    for _ in range(3):
        trainer.rollout()
    policy = export_policy(trainer.model, FEATURES, SPACE)
    observations = torch.rand(50, len(FEATURES), generator=torch.Generator().manual_seed(0))

    def temperatures(model: PPO) -> torch.Tensor:
        actions, _ = model.predict(observations.numpy(), deterministic=True)
        return action_to_temperature(torch.from_numpy(actions[:, 0]), SPACE.low, SPACE.high)

    torch.testing.assert_close(policy.temperature(observations), temperatures(trainer.model), rtol=1e-4, atol=1e-4)
    for model in (fresh(hidden, whiten=True, squash=squash), trainer.model):
        other = LearnedPolicy(FEATURES, hidden, low=SPACE.low, high=SPACE.high, squash=squash)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(0.1)
        import_policy(model, other)
        torch.testing.assert_close(temperatures(model), other.temperature(observations), rtol=1e-4, atol=1e-4)


def test_what_was_exported_can_be_trained_further(model: PPO) -> None:
    policy = export_policy(model, FEATURES, SPACE)
    again = fresh()
    exploration = again.policy.log_std.clone()
    import_policy(again, policy)
    observations = np.random.default_rng(0).uniform(0, 1, (100, len(FEATURES))).astype(np.float32)
    ours, theirs = (m.predict(observations, deterministic=True)[0] for m in (again, model))
    np.testing.assert_array_equal(ours, theirs)
    assert torch.equal(again.policy.log_std, exploration)


def test_a_policy_with_other_layers_cannot_be_imported(model: PPO) -> None:
    policy = export_policy(model, FEATURES, SPACE)
    with pytest.raises(InputError, match=r"layers of the model's shapes \[\(5, 13\), \(1, 5\)\], got"):
        import_policy(fresh((5,)), policy)
