"""Advantages run along students, and agree with closed forms and with SB3 where they must."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer

from rltemp.agents.buffer import StudentRolloutBuffer
from rltemp.errors import InputError

OBSERVATIONS = gymnasium.spaces.Box(0.0, 1.0, (2,), np.float32)
ACTIONS = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)


def filled(kind: type[RolloutBuffer], rewards: Any, values: Any, **options: Any) -> Any:
    """A buffer of one whole episode."""
    steps, slots = rewards.shape
    buffer = kind(steps, OBSERVATIONS, ACTIONS, device="cpu", n_envs=slots, **options)
    for step in range(steps):
        zeros, starts = np.zeros((slots, 2)), np.full(slots, step == 0)
        buffer.add(
            zeros, np.zeros((slots, 1)), rewards[step], starts, torch.from_numpy(values[step]), torch.zeros(slots)
        )
    buffer.compute_returns_and_advantage(torch.full((slots,), 99.0), dones=np.ones(slots, dtype=bool))
    return buffer


def draw(seed: int, steps: int = 6, slots: int = 6) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    return tuple(generator.normal(size=(steps, slots)).astype(np.float32) for _ in range(2))  # type: ignore[return-value]


@given(st.integers(0, 2**32 - 1))
def test_students_of_one_instance_are_sb3s_slots(seed: int) -> None:
    rewards, values = draw(seed)
    ours = filled(StudentRolloutBuffer, rewards, values, gae_lambda=0.9, gamma=0.97, group_size=1)
    theirs = filled(RolloutBuffer, rewards, values, gae_lambda=0.9, gamma=0.97)
    np.testing.assert_allclose(ours.advantages, theirs.advantages, atol=1e-5)
    np.testing.assert_allclose(ours.returns, theirs.returns, atol=1e-5)


def test_constant_values_without_discount_give_rewards_to_go() -> None:
    rewards, _ = draw(0)
    values = np.full((6, 6), 0.5, np.float32)
    buffer = filled(StudentRolloutBuffer, rewards, values, gae_lambda=1.0, gamma=1.0, group_size=3)
    for step in range(6):
        for slot in range(6):
            mates = slice(slot - slot % 3, slot - slot % 3 + 3)
            to_go = sum(float(rewards[later, mates].mean()) for later in range(step, 6))
            own = float(rewards[step, slot] - rewards[step, mates].mean())
            assert buffer.advantages[step, slot] == pytest.approx(to_go + own - 0.5, abs=1e-5)
            assert buffer.returns[step, slot] == pytest.approx(to_go + own, abs=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_twins_are_compared_with_each_other_over_the_whole_run(seed: int) -> None:
    rewards, values = draw(seed, slots=8)
    buffer = filled(StudentRolloutBuffer, rewards, values, group_size=2, twins=True)
    exact = rewards.astype(float)
    earned = [exact[:, 2 * student : 2 * student + 2].mean(axis=1).sum() for student in range(4)]
    for slot in range(8):
        student, mates = slot // 2, slice(slot - slot % 2, slot - slot % 2 + 2)
        ahead = (earned[student] - earned[student ^ 1]) / 2.0
        own = exact[:, slot] - exact[:, mates].mean(axis=1)
        np.testing.assert_allclose(buffer.advantages[:, slot], ahead + own, atol=1e-5)


def test_a_twin_without_another_is_refused() -> None:
    with pytest.raises(InputError, match="twins must come in pairs, got 3 students"):
        filled(StudentRolloutBuffer, *draw(0), group_size=2, twins=True)


@given(st.integers(0, 2**32 - 1))
def test_the_mean_over_a_student_is_its_generalized_advantage(seed: int) -> None:
    rewards, values = draw(seed)
    buffer = filled(StudentRolloutBuffer, rewards, values, gae_lambda=0.8, gamma=1.0, group_size=3)
    for student in (0, 1):
        columns = slice(3 * student, 3 * student + 3)
        r, v = rewards[:, columns].astype(float).mean(axis=1), values[:, columns].astype(float).mean(axis=1)
        advantage = 0.0
        for step in reversed(range(6)):
            following = v[step + 1] if step < 5 else 0.0
            advantage = r[step] + following - v[step] + 0.8 * advantage
            assert buffer.advantages[step, columns].mean() == pytest.approx(advantage, abs=1e-5)


def test_unrelated_images_of_later_steps_make_no_difference() -> None:
    rewards, values = draw(3)
    later = rewards.copy(), values.copy()
    for array in later:
        array[3:, :3] = array[3:, [2, 0, 1]]
    buffers = [
        filled(StudentRolloutBuffer, *pair, gae_lambda=0.95, gamma=1.0, group_size=3)
        for pair in ((rewards, values), later)
    ]
    np.testing.assert_allclose(buffers[0].advantages[:3], buffers[1].advantages[:3], atol=1e-5)
    slotwise = [filled(RolloutBuffer, *pair, gae_lambda=0.95, gamma=1.0) for pair in ((rewards, values), later)]
    assert np.abs(slotwise[0].advantages[:3] - slotwise[1].advantages[:3]).max() > 0.1


def test_the_buffer_keeps_what_it_was_given() -> None:
    rewards, values = draw(4)
    buffer = filled(StudentRolloutBuffer, rewards, values, group_size=2)
    np.testing.assert_array_equal(buffer.rewards, rewards)
    np.testing.assert_array_equal(buffer.values, values)


@pytest.mark.parametrize("group_size", [0, 4])
def test_a_group_size_that_does_not_divide_the_slots_is_refused(group_size: int) -> None:
    with pytest.raises(InputError, match="group_size"):
        StudentRolloutBuffer(2, OBSERVATIONS, ACTIONS, n_envs=6, group_size=group_size)
