"""The exported policy is the agent's mean action, to the last step of the arithmetic."""

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from torch import nn

from rltemp.agents.policy_io import export_policy, import_policy
from rltemp.agents.trainer import Trainer
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.features import LOGIT_FEATURES, LogitFeatures
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.recipes.schema import Agent, PolicySpace

FEATURES = LogitFeatures(LOGIT_FEATURES)
SPACE = PolicySpace(low=0.5, high=32.0)


@pytest.fixture(scope="module")
def model() -> PPO:
    agent = Agent(students=2, hidden=(9, 7), learning_rate=0.05, epochs=20, target_kl=100.0)
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
    relu = PPO("MlpPolicy", gymnasium.make("Pendulum-v1"), policy_kwargs={"activation_fn": nn.ReLU}, device="cpu")
    with pytest.raises(InputError, match="tanh"):
        export_policy(relu, FEATURES, SPACE)


def fresh(hidden: tuple[int, ...] = (9, 7)) -> PPO:
    return Trainer(ToyVectorEnv(2, batch_size=4, features=len(FEATURES)), Agent(students=2, hidden=hidden)).model


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
