"""Noise is one function of the state per student and episode."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.distributions import StateDependentNoiseDistribution

from rltemp.agents.exploration import CoherentNoiseDistribution, CoherentPolicy
from rltemp.errors import InputError

STUDENTS, BATCH = 3, 4


@pytest.fixture(autouse=True)
def _global_generator() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def policy() -> CoherentPolicy:
    observations = gymnasium.spaces.Box(0.0, 1.0, (5,), np.float32)
    actions = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    return CoherentPolicy(observations, actions, lambda _: 1e-3, group_size=BATCH, log_std_init=-1.0)


def noise(policy: CoherentPolicy, observations: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        actions, _, _ = policy(observations)
        means, _, _ = policy(observations, deterministic=True)
    drawn: torch.Tensor = (actions - means).squeeze(1)
    return drawn


def test_equal_instances_of_a_student_get_equal_noise_and_other_students_other_noise(policy: CoherentPolicy) -> None:
    policy.reset_noise(STUDENTS * BATCH)
    drawn = noise(policy, torch.rand(1, 5).repeat(STUDENTS * BATCH, 1)).view(STUDENTS, BATCH)
    torch.testing.assert_close(drawn, drawn[:, :1].expand(-1, BATCH))
    assert len({round(float(value), 5) for value in drawn[:, 0]}) == STUDENTS
    assert drawn.abs().min() > 1e-3


def test_noise_is_one_linear_function_of_the_latent_state_until_it_is_drawn_anew(policy: CoherentPolicy) -> None:
    policy.reset_noise(STUDENTS * BATCH)
    observations = torch.rand(20, STUDENTS * BATCH, 5)
    assert isinstance(policy.action_dist, CoherentNoiseDistribution)
    matrices = policy.action_dist.exploration_matrices.detach().clone()
    for step in observations:
        drawn = noise(policy, step)
        latent = policy.mlp_extractor.forward_actor(step).detach()
        for slot in range(STUDENTS * BATCH):
            first_of_student = slot - slot % BATCH
            expected = sum(float(x) * float(m) for x, m in zip(latent[slot], matrices[first_of_student], strict=True))
            assert float(drawn[slot]) == pytest.approx(expected, abs=1e-4)
    before = noise(policy, observations[0])
    policy.reset_noise(STUDENTS * BATCH)
    assert not torch.allclose(noise(policy, observations[0]), before, atol=1e-3)


def test_the_spread_of_a_students_mean_action_does_not_shrink_with_its_batch(policy: CoherentPolicy) -> None:
    # Independent noise would leave 1 / sqrt(B) of it.
    observation = torch.rand(1, 5).repeat(BATCH, 1)
    means, singles = [], []
    for _ in range(500):
        policy.reset_noise(BATCH)
        drawn = noise(policy, observation)
        means.append(float(drawn.mean()))
        singles.append(float(drawn[0]))
    assert np.std(means) == pytest.approx(np.std(singles), rel=1e-6)
    latent = policy.mlp_extractor.forward_actor(observation[:1]).detach()
    assert np.std(means) == pytest.approx(float(latent.norm()) * np.exp(-1.0), rel=0.15)


def test_densities_are_those_of_gsde(policy: CoherentPolicy) -> None:
    theirs = StateDependentNoiseDistribution(action_dim=1)
    ours = CoherentNoiseDistribution(action_dim=1, group_size=BATCH)
    for distribution in (theirs, ours):
        distribution.proba_distribution_net(latent_dim=6)
    mean, log_std, latent, actions = torch.rand(8, 1), torch.rand(6, 1) - 2, torch.rand(8, 6), torch.rand(8, 1)
    expected = theirs.proba_distribution(mean, log_std, latent).log_prob(actions)
    torch.testing.assert_close(ours.proba_distribution(mean, log_std, latent).log_prob(actions), expected)
    variance = (latent**2) @ (log_std.exp() ** 2) + 1e-6
    by_hand = -0.5 * ((actions - mean) ** 2 / variance + torch.log(2 * torch.pi * variance)).squeeze(1)
    torch.testing.assert_close(expected, by_hand)


def test_a_deterministic_action_is_the_plain_mean(policy: CoherentPolicy) -> None:
    observations = np.random.default_rng(0).random((STUDENTS * BATCH, 5), dtype=np.float32)
    policy.reset_noise(STUDENTS * BATCH)
    actions, _ = policy.predict(observations, deterministic=True)
    weights = [layer for layer in policy.mlp_extractor.policy_net if isinstance(layer, torch.nn.Linear)]
    hidden = observations.astype(np.float64)
    for layer in weights:
        hidden = np.tanh(hidden @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy())
    net = policy.action_net
    assert isinstance(net, torch.nn.Linear)
    expected = hidden @ net.weight.detach().double().numpy().T + net.bias.detach().double().numpy()
    np.testing.assert_allclose(actions, expected.clip(-1, 1), atol=1e-5)


def test_a_single_observation_can_be_acted_on(policy: CoherentPolicy) -> None:
    policy.reset_noise(1)
    action, _ = policy.predict(np.zeros(5, np.float32))
    assert action.shape == (1,)


def test_slots_that_are_no_whole_number_of_students_are_refused(policy: CoherentPolicy) -> None:
    with pytest.raises(InputError, match="multiple of the group size 4, got 6"):
        policy.reset_noise(6)


def test_the_policy_can_be_rebuilt_from_its_own_parameters(policy: CoherentPolicy, tmp_path: Any) -> None:
    policy.save(str(tmp_path / "policy.pt"))
    loaded = CoherentPolicy.load(str(tmp_path / "policy.pt"))
    assert loaded.group_size == BATCH
    observations = torch.rand(7, 5)
    with torch.no_grad():
        torch.testing.assert_close(loaded(observations, deterministic=True), policy(observations, deterministic=True))
