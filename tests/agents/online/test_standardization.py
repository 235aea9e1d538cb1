"""Rewards in units of the latest ones, against sums over all steps."""

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecEnv

from rltemp.agents.online.standardization import StandardizedReward
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.envs.toy import ToyVectorEnv


class Paying(VectorEnvAdapter):
    """Pays what it is told, with a deviation of instances that is always the same."""

    pay: list[float]

    def step_wait(self):  # type: ignore[no-untyped-def]
        observations, _, ended, infos = super().step_wait()
        return observations, np.float32(self.pay.pop(0)) + np.array([-0.5, 0.5], np.float32), ended, infos


def _paid(venv: VecEnv, steps: int) -> list[list[float]]:
    return [venv.step(np.zeros((2, 1), np.float32))[1].tolist() for _ in range(steps)]


def _make(pay: list[float]) -> StandardizedReward:
    inner = Paying(ToyVectorEnv(1, batch_size=2, horizon=100))
    inner.pay = pay
    venv = StandardizedReward(inner)
    venv.reset()
    return venv


def test_rewards_are_relative_to_the_latest() -> None:
    pay = [1.0, 3.0, 2.5, -1.0, 0.25]
    got = _paid(_make(list(pay)), 5)
    assert got[0] == [0.0, 0.0]
    for step in range(1, 5):
        weights = 0.95 ** np.arange(step, -1, -1.0)
        past = np.array(pay[: step + 1])
        mean = (weights * past).sum() / weights.sum()
        deviation = np.sqrt((weights * (past - mean) ** 2).sum() / weights.sum())
        assert got[step] == pytest.approx([(pay[step] + d - mean) / deviation for d in (-0.5, 0.5)], rel=1e-4)


def test_equal_rewards_pay_nothing_and_a_state_goes_on() -> None:
    assert _paid(_make([2.0] * 3), 3) == [[0.0, 0.0]] * 3
    pay = [1.0, 3.0, 2.5, -1.0]
    whole, broken, resumed = _make(list(pay)), _make(list(pay)), _make(pay[2:])
    first = _paid(whole, 4)
    _paid(broken, 2)
    resumed.load_state_dict(broken.state_dict())
    assert _paid(resumed, 2) == first[2:]
