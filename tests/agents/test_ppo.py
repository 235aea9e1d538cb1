"""PPO starts from a ratio of one, on one episode per student, and is paid by the calibration."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from rltemp.agents.credit.calibration import CalibratedReward, Calibration, Influence, Uniform
from rltemp.agents.exploration import CoherentNoiseDistribution
from rltemp.agents.ppo import make_ppo, see_by
from rltemp.agents.randomness import RandomStream
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.agents.whitening import Basis, FeatureMoments
from rltemp.envs.toy import ToyVectorEnv
from rltemp.features import center
from rltemp.recipes.schema import Agent

STUDENTS, BATCH, HORIZON = 3, 4, 5
AGENT = Agent(students=STUDENTS, hidden=(16,), n_epochs=2, minibatches=3)


@pytest.fixture(autouse=True)
def _own_randomness() -> Any:
    with RandomStream(0).active():
        yield


class Stop(BaseCallback):
    """Ends `learn` after the rollout, before the update."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        raise StopIteration


def collected(calibration: Calibration, agent: Agent = AGENT) -> PPO:
    """A model with a full buffer, not yet updated."""
    venv = CalibratedReward(VectorEnvAdapter(ToyVectorEnv(STUDENTS, BATCH, horizon=HORIZON)), calibration)
    model = make_ppo(venv, agent)
    venv.seed(0)
    with pytest.raises(StopIteration):
        model.learn(HORIZON * STUDENTS * BATCH, callback=Stop())
    return model


def test_the_ratio_is_one_before_the_first_update() -> None:
    model = collected(Uniform())
    batches = list(model.rollout_buffer.get(7))
    assert sum(len(batch.actions) for batch in batches) == HORIZON * STUDENTS * BATCH
    for batch in batches:
        values, log_prob, _ = model.policy.evaluate_actions(batch.observations, batch.actions)
        ratio = torch.exp(log_prob - batch.old_log_prob)
        torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(values.flatten(), batch.old_values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_an_agent_that_sees_by_another_basis_does_what_it_did(hidden: tuple[int, ...]) -> None:
    venv = VectorEnvAdapter(ToyVectorEnv(STUDENTS, BATCH, horizon=HORIZON))
    policy = make_ppo(venv, dataclasses.replace(AGENT, hidden=hidden, whiten=True)).policy
    generator = torch.Generator().manual_seed(0)
    observations = torch.rand(50, 3, generator=generator)
    with torch.no_grad():
        before = policy.get_distribution(observations).mode(), policy.predict_values(observations)
        for _ in range(3):
            root = torch.randn(3, 3, generator=generator)
            basis = Basis(root @ root.T + torch.eye(3), torch.randn(3, generator=generator))
            see_by(policy, basis)
            want = (4.0 * (observations - 0.5) - basis.mean) @ basis.scale
            torch.testing.assert_close(policy.extract_features(observations), want)
        after = policy.get_distribution(observations).mode(), policy.predict_values(observations)
    assert before[0].std() > 1e-3
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_whitened_noise_is_as_large_in_every_direction_in_which_features_vary() -> None:
    venv = VectorEnvAdapter(ToyVectorEnv(256, BATCH, horizon=HORIZON))
    agent = dataclasses.replace(AGENT, students=256, hidden=(), whiten=True, log_std_init=-2.0)
    policy = make_ppo(venv, agent).policy
    # The first feature hardly varies and is far from the middle; the others are all but one.
    drawn = np.random.default_rng(0).random((4000, 3))
    seen = np.stack((0.98 + 0.02 * drawn[:, 0], drawn[:, 1], 0.9 * drawn[:, 1] + 0.1 * drawn[:, 2]), axis=1)
    observations = torch.from_numpy(seen.astype(np.float32))
    met = FeatureMoments(3)
    for _ in range(10_000):
        met.note(observations[:1000], 1)
    see_by(policy, met.basis())
    policy.reset_noise(256 * BATCH)
    assert isinstance(policy.action_dist, CoherentNoiseDistribution)
    matrices = policy.action_dist.exploration_matrices[::BATCH]  # one for each student
    white = policy.extract_features(observations)
    assert isinstance(white, torch.Tensor)
    noise = (white @ matrices)[..., 0].detach()
    constant, varying = noise.mean(dim=1), noise.std(dim=1)
    assert float(constant.square().mean().sqrt()) < 0.1 * float(varying.square().mean().sqrt()), (
        "not one constant shift"
    )


def test_a_rollout_is_one_whole_episode_of_every_student() -> None:
    buffer = collected(Uniform()).rollout_buffer
    assert buffer.episode_starts.shape == (HORIZON, STUDENTS * BATCH)
    assert buffer.episode_starts[0].all()
    assert not buffer.episode_starts[1:].any()
    np.testing.assert_allclose(buffer.observations[:, 0, 0], np.arange(HORIZON) / HORIZON, rtol=1e-6)


def test_noise_is_one_function_per_student_over_the_whole_episode() -> None:
    model = collected(Uniform())
    buffer = model.rollout_buffer
    slots = buffer.observations.shape[1]
    noise, latent = [], []
    for step in range(HORIZON):
        observations = torch.as_tensor(buffer.observations[step])
        with torch.no_grad():
            means = model.policy.get_distribution(observations).mode()
            latent.append(model.policy.mlp_extractor.forward_actor(center(observations)).numpy())
        noise.append(buffer.actions[step] - means.numpy())
    functions = []
    for student in range(STUDENTS):
        mates = slice(student * BATCH, student * BATCH + BATCH)
        inputs = np.concatenate([part[mates] for part in latent])
        outputs = np.concatenate([part[mates] for part in noise])
        # 20 equations for 16 unknowns: that all hold says that one noise matrix made all of the student's noise.
        solution, *_ = np.linalg.lstsq(inputs.astype(np.float64), outputs.astype(np.float64), rcond=None)
        np.testing.assert_allclose(inputs @ solution, outputs, atol=1e-4)
        assert np.abs(outputs).max() > 0.01
        functions.append(solution)
    first = np.asarray(latent[0][: slots // STUDENTS])
    assert np.abs(first @ functions[0] - first @ functions[1]).max() > 0.01


def test_calibration_changes_the_advantages_and_not_their_mean_over_a_student() -> None:
    with RandomStream(1).active():
        uniform = collected(Uniform()).rollout_buffer
    with RandomStream(1).active():
        influence = collected(Influence(1.0)).rollout_buffer
    np.testing.assert_array_equal(uniform.actions, influence.actions)
    assert np.abs(uniform.advantages - influence.advantages).max() > 0.1
    means = [buffer.advantages.reshape(HORIZON, STUDENTS, BATCH).mean(axis=2) for buffer in (uniform, influence)]
    np.testing.assert_allclose(means[0], means[1], atol=1e-5)


def test_the_trust_region_ends_an_update() -> None:
    steps = {}
    for target_kl in (1e-6, 1e6):
        agent = Agent(
            students=STUDENTS, hidden=(16,), n_epochs=5, minibatches=3, learning_rate=0.01, target_kl=target_kl
        )
        with RandomStream(1).active():
            model = collected(Uniform(), agent)
            model.train()
        steps[target_kl] = int(next(iter(model.policy.optimizer.state.values()))["step"])
    assert steps[1e6] == 15
    assert steps[1e-6] == 1


def test_settings_reach_ppo() -> None:
    agent = Agent(
        students=STUDENTS, hidden=(7, 5), log_std_init=-2.5, minibatches=4, gae_lambda=0.5, learning_rate=0.125
    )
    model = make_ppo(VectorEnvAdapter(ToyVectorEnv(STUDENTS, BATCH, horizon=HORIZON)), agent)
    assert (model.n_steps, model.batch_size, model.gamma, model.gae_lambda) == (HORIZON, 15, 1.0, 0.5)
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.125
    assert torch.equal(model.policy.log_std, torch.full((5, 1), -2.5))
    linear = [layer for layer in model.policy.mlp_extractor.policy_net if isinstance(layer, torch.nn.Linear)]
    assert [list(layer.weight.shape) for layer in linear] == [[7, 3], [5, 7]]
    assert str(model.device) == "cpu"
