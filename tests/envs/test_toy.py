"""The toy environment pays what it says it pays."""

from typing import Any

import numpy as np
import pytest

from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError


def make() -> ToyVectorEnv:
    return ToyVectorEnv(students=3, batch_size=4, features=5, horizon=6)


def test_the_best_actions_earn_nothing_less_than_the_optimum() -> None:
    env = make()
    observation, _ = env.reset(seed=0)
    for _ in range(2 * env.horizon):
        observation, rewards, *_ = env.step(env.best_actions(observation)[:, None])
        np.testing.assert_allclose(rewards, 0.0, atol=1e-12)


def test_reward_is_the_mean_squared_error_of_the_student_in_every_slot() -> None:
    env = make()
    observation, _ = env.reset(seed=0)
    actions = np.random.default_rng(1).uniform(-1, 1, (12, 1)).astype(np.float32)
    _, rewards, *_ = env.step(actions)
    for slot in range(12):
        student = slot // 4
        mates = range(4 * student, 4 * student + 4)
        errors = [(float(actions[i, 0]) - (1.6 * float(observation[i, 1]) - 0.8)) ** 2 for i in mates]
        assert rewards[slot] == pytest.approx(-sum(errors) / 4, rel=1e-5)


def test_the_transition_tells_the_step_and_its_influence_adds_up_to_the_reward() -> None:
    env = make()
    observation, _ = env.reset(seed=0)
    _, rewards, *_ = env.step(np.linspace(-1, 1, 12, dtype=np.float32)[:, None])
    transition = env.transition
    np.testing.assert_array_equal(transition.features.reshape(12, 5), observation)
    np.testing.assert_allclose(transition.temperatures.reshape(-1), 0.5 * 64 ** (np.arange(12) / 11), rtol=1e-5)
    assert transition.influence is not None
    np.testing.assert_allclose(transition.influence.sum(axis=1), transition.reward, rtol=1e-5)
    np.testing.assert_allclose(np.repeat(transition.reward, 4), rewards, rtol=1e-6)


def test_all_slots_end_together_and_the_next_episode_opens_in_the_same_step() -> None:
    env = make()
    env.reset(seed=0)
    zeros = np.zeros((12, 1), np.float32)
    steps = [env.step(zeros) for _ in range(13)]
    assert [bool(terminations.all()) for _, _, terminations, _, _ in steps] == ([False] * 5 + [True]) * 2 + [False]
    assert not any(truncations.any() for _, _, _, truncations, _ in steps)
    progress = [float(observation[0, 0]) for observation, *_ in steps[:7]]
    np.testing.assert_allclose(progress, [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 0.0, 1 / 6], rtol=1e-6)
    final = steps[5][-1]
    assert [float(row[0]) for row in final["final_obs"]] == [1.0] * 12
    rewards = np.sum([rewards for _, rewards, *_ in steps[:6]], axis=0)
    np.testing.assert_allclose(final["final_info"]["return"], rewards, rtol=1e-5)


@pytest.mark.parametrize("bad", [{"students": 0}, {"batch_size": 0}, {"features": 1}, {"horizon": 0}])
def test_sizes_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        ToyVectorEnv(**bad)


def test_actions_that_are_not_one_finite_number_per_slot_are_refused() -> None:
    env = make()
    env.reset(seed=0)
    wrong: list[Any] = [np.zeros(12), np.zeros((11, 1)), np.full((12, 1), np.nan)]
    for bad in wrong:
        with pytest.raises(InputError, match="actions"):
            env.step(bad)


def test_a_transition_is_refused_before_the_first_step() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(InputError, match="none yet"):
        _ = env.transition
