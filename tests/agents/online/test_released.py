"""The formulas of the public code, against renderings of them in plain Python and float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rltemp.agents.online.policies import BatchNoisePolicy, InstanceNoisePolicy
from rltemp.agents.online.released import batch_order_advantages, macro_accuracy, reward_factor
from rltemp.agents.online.settings import AGENTS, Online, make_online
from rltemp.agents.online.squash import to_temperature
from rltemp.agents.online.state import make_state, state_features
from rltemp.agents.randomness import RandomStream
from rltemp.distillation import DistillationRun, Task
from rltemp.envs.toy import ToyVectorEnv

RELEASED = AGENTS["rlkd-as-released"]


def _advantages(reward: float, values: list[float]) -> tuple[list[float], list[float]]:
    """Advantages and returns as sums over what follows, instance by instance."""
    last = len(values) - 1
    after = [*values[1:], values[-1]]
    delta = [(reward if j == last else 0.0) + 0.99 * after[j] - values[j] for j in range(len(values))]
    raw = [sum((0.99 * 0.95) ** (k - j) * delta[k] for k in range(j, last + 1)) for j in range(len(values))]
    returns = [0.99 ** (last - j) * (reward + 0.99 * values[-1]) for j in range(len(values))]
    mean = math.fsum(raw) / len(raw)
    deviation = math.sqrt(math.fsum((a - mean) ** 2 for a in raw) / len(raw))
    return [(a - mean) / deviation for a in raw], returns


@given(st.floats(-20, 20), st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=64), st.integers(0, 10**6))
def test_advantages_run_along_the_order_of_the_batch(reward: float, values: list[float], seed: int) -> None:
    values[0] += 0.1 + np.random.default_rng(seed).random()  # no batch of equal advantages
    advantages, returns = batch_order_advantages(reward, np.array(values))
    want, want_returns = _advantages(reward, values)
    np.testing.assert_allclose(advantages, want, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(returns, want_returns, rtol=1e-9, atol=1e-9)


def test_of_the_reward_only_the_sign_is_left() -> None:
    values = np.full(64, 1e-9)
    small, large, negative = (batch_order_advantages(reward, values)[0] for reward in (0.01, 10.0, -0.01))
    np.testing.assert_allclose(small, large, rtol=1e-4)
    np.testing.assert_allclose(small, -negative, rtol=1e-4)
    assert small[0] == pytest.approx(-0.90, abs=0.01)
    assert small[-1] == pytest.approx(2.83, abs=0.01)


def test_equal_advantages_are_nothing() -> None:
    assert batch_order_advantages(0.0, np.zeros(8))[0].tolist() == [0.0] * 8


@pytest.mark.parametrize(
    ("epoch", "want"),
    [
        (1, 10 * (1 + (1 + math.cos(math.pi / 75)) / 2)),
        (75, 10.0),
        (149, 10 * (1 + (1 + math.cos(149 * math.pi / 75)) / 2)),
        (150, 5 * (1 + (1 + math.cos(5 * math.pi)) / 2)),
        (180, 10.0),
        (210, 2.0),
        (239, 2 * (1 + (1 + math.cos(239 * math.pi / 30)) / 2)),
        (240, 1.0),
    ],
)
def test_the_factor_follows_the_epochs(epoch: int, want: float) -> None:
    assert reward_factor(epoch) == pytest.approx(want)


def test_accuracy_is_a_mean_over_classes() -> None:
    targets = torch.tensor([0, 0, 0, 1, 2])
    predicted = torch.tensor([0, 0, 3, 1, 1])
    # Class 0: 2 of 3, class 1: 1 of 1, class 2: none, class 3: predicted alone; class 4 does not occur.
    want = (2 / 3 + 1 + 0 + 0) / 4
    assert macro_accuracy(F.one_hot(predicted, 5).float(), targets) == pytest.approx(want)


def test_the_state_has_the_second_smallest_probability(tiny_task: Task) -> None:
    seen = DistillationRun(tiny_task, [3]).observe()
    state = make_state(RELEASED, state_features(RELEASED), seen)[0]
    for row, student, teacher in zip(state, seen.student.logits[0], seen.teacher_logits[0], strict=True):
        p, q = (sorted(F.softmax(logits.double(), 0).tolist()) for logits in (student, teacher))
        assert row.tolist() == pytest.approx([q[-1], p[-1], p[-1] - p[1]], abs=1e-6)


def test_the_state_has_the_probability_of_the_label_and_the_margin(tiny_task: Task) -> None:
    own = Online()
    seen = DistillationRun(tiny_task, [3]).observe()
    state = make_state(own, state_features(own), seen)[0]
    for i, row in enumerate(state):
        p, q = (F.softmax(logits[0, i].double(), 0) for logits in (seen.student.logits, seen.teacher_logits))
        label, (first, second) = int(seen.minibatch.targets[0, i]), p.sort(descending=True).values[:2].tolist()
        assert row.tolist() == pytest.approx([q[label].item(), p[label].item(), first - second], abs=1e-6)


def _policy(online: Online) -> Any:
    env = ToyVectorEnv(1, batch_size=4)
    kind = BatchNoisePolicy if online.noise == "batch" else InstanceNoisePolicy
    options: dict[str, Any] = {"group_size": 4} if online.noise == "batch" else {}
    spaces = env.single_observation_space, env.single_action_space
    with RandomStream(0).active():
        return kind(*spaces, lambda _: 1e-3, online=online, log_std_init=-1.0, net_arch=[8], **options)


def test_temperatures_are_a_sigmoid_of_the_noise() -> None:
    actions = torch.linspace(-1, 1, 9, dtype=torch.float64)
    want = [10 / (1 + math.exp(-4 * a)) for a in actions.tolist()]
    assert to_temperature(RELEASED, actions).tolist() == pytest.approx(want)


@pytest.mark.parametrize("density", ["action", "temperature"])
def test_the_density_is_the_gaussian_s_at_the_action_or_at_the_temperature(density: str) -> None:
    policy = _policy(make_online("rlkd-as-released", density=density))
    observations = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    actions = torch.tensor([[-0.3], [0.1], [0.2], [0.5]])
    with torch.no_grad():
        mean = policy.get_distribution(observations).get_actions(deterministic=True).double().flatten()
        _, got, _ = policy.evaluate_actions(observations, actions)
    assert float(mean.abs().max()) < 1 / 4  # x is around a tanh
    # In units of x = 4 a: mean 4 mu, deviation 4 sigma.
    x = 4 * actions.double().flatten()
    at = x if density == "action" else 10 * torch.sigmoid(x)
    want = stats.norm.logpdf(at.numpy(), 4 * mean.numpy(), 4 * math.exp(-1.0)) + math.log(4)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-4)


@pytest.mark.parametrize("density", ["action", "temperature"])
def test_the_agent_starts_at_the_warm_up_s_temperature(density: str) -> None:
    policy = _policy(make_online("rlkd", density=density, temperature=6.0))
    observations = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        actions = policy.get_distribution(observations).get_actions(deterministic=True)
    np.testing.assert_allclose(to_temperature(Online(), actions).numpy(), 6.0, rtol=0.05)
