"""Rewards above or below the latest ones, and in their unit, so that an agent learns late in a run as early."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

__all__ = ["StandardizedReward"]

_KEPT = 0.95


class StandardizedReward(VecEnvWrapper):
    """SB3 wrapper that takes the latest mean from all rewards of a step and divides them by the latest deviation.

    Mean and deviation are of the steps' mean rewards, exponential over about 20 steps, this one among them. Nearly all
    updates improve a student, early ones by orders of magnitude more than late ones: without a mean an untrained value
    function praises every action, and without a unit the first epoch decides the policy. The first step pays nothing.

    Args:
        venv: the environment of one student.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self._weight = self._sum = self._squares = 0.0

    def reset(self) -> VecEnvObs:
        """Start new episodes in all slots; returns their first observations."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step; returns observations, standardized rewards [B], episode ends, and infos."""
        observations, rewards, ended, infos = self.venv.step_wait()
        reward = float(rewards.mean(dtype=np.float64))
        self._weight = _KEPT * self._weight + 1.0
        self._sum = _KEPT * self._sum + reward
        self._squares = _KEPT * self._squares + reward**2
        mean = self._sum / self._weight
        variance = self._squares / self._weight - mean**2
        # Rounding leaves a little of equal rewards.
        known = variance > 1e-12 * mean**2
        standard = (rewards - mean) / math.sqrt(variance) if known else np.zeros_like(rewards)
        return observations, standard.astype(np.float32), ended, infos

    def state_dict(self) -> dict[str, Any]:
        """Weight, sum, and sum of squares of the rewards so far."""
        return {"weight": self._weight, "sum": self._sum, "squares": self._squares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned."""
        self._weight, self._sum, self._squares = (float(state[name]) for name in ("weight", "sum", "squares"))
