"""Reward calibration: dividing a batch's reward among its instances without changing their mean.

One update serves B instances and gives one reward R. Rewarding every instance with R is correct, but says nothing about
which temperature caused it; a calibration moves reward between the instances of a batch, with mean_i r_i = R. The idea
is the "instance reward calibration" of RLKD (Zhang 2024, arXiv 2407.00115, section 3.3); the formulas are this
project's.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rltemp.agents.vec_env import student_env
from rltemp.envs.contract import Transition
from rltemp.errors import InputError

__all__ = ["CalibratedReward", "Calibration", "Influence", "Uniform"]

Floats = npt.NDArray[np.float64]


class Calibration(ABC):
    """Divides the reward R_k of each of K students among its B instances, keeping their mean."""

    @abstractmethod
    def calibrate(self, transition: Transition) -> Floats:
        """Rewards of the instances, [K, B], with mean_i r_ki = R_k; the order of instances must not matter."""

    def update(self) -> None:  # noqa: B027 (most calibrations learn nothing)
        """Fit the calibration to the transitions seen so far; called after every rollout. Does nothing by default."""

    def state_dict(self) -> dict[str, Any]:
        """The calibration's state, as tensors and plain values; empty by default."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Restore a state that `state_dict()` returned."""


class Uniform(Calibration):
    """Every instance gets the reward of its batch: r_i = R."""

    def calibrate(self, transition: Transition) -> Floats:
        """The student's reward R for each of its instances, [K, B]."""
        return np.repeat(transition.reward[:, None].astype(np.float64), transition.temperatures.shape[1], axis=1)


class Influence(Calibration):
    """Instances are rewarded for their own first-order effect c_i on the probe loss (this project's formula).

    r_i = R + weight * (rms(R) / rms(c - mean c)) * (c_i - mean c), where mean c is over the batch, and both root mean
    squares are over all transitions so far. Their ratio gives c the unit of R, so that a weight means the same on every
    network, data set, and learning rate: at weight 1, rewards differ within a batch by about the size of R. All
    instances of a step share one ratio, so that rewards differ more where temperatures matter more.

    Args:
        weight: factor on the instances' deviation from R, >= 0; 0 is `Uniform`.

    Raises:
        InputError: for a weight that is negative or not finite.
    """

    def __init__(self, weight: float) -> None:
        if not 0.0 <= weight < float("inf"):
            raise InputError(f"weight must be >= 0 and finite, got {weight}")
        self.weight = weight
        self._reward, self._influence = RunningRms(), RunningRms()

    def calibrate(self, transition: Transition) -> Floats:
        """The student's reward plus the scaled and centered influence of each instance, [K, B].

        Raises:
            InputError: for a transition without influence.
        """
        if transition.influence is None:
            raise InputError("transition.influence must be known, got None: the recipe needs agent.credit 'influence'")
        influence: Floats = transition.influence.astype(np.float64)
        centered: Floats = influence - influence.mean(axis=1, keepdims=True)
        reward: Floats = transition.reward[:, None].astype(np.float64)
        self._reward.include(reward)
        self._influence.include(centered)
        unit = self._reward.value / self._influence.value if self._influence.value else 0.0
        rewards: Floats = reward + self.weight * unit * centered
        return rewards

    def state_dict(self) -> dict[str, Any]:
        """State of the running root mean squares of rewards and influences."""
        return {"reward": self._reward.state_dict(), "influence": self._influence.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned."""
        self._reward.load_state_dict(state["reward"])
        self._influence.load_state_dict(state["influence"])


class RunningRms:
    """Root mean square of all values included so far; 0 before the first."""

    def __init__(self) -> None:
        self._squares, self._count = 0.0, 0

    def include(self, values: Floats) -> None:
        """Include values of any shape."""
        self._squares += float(np.square(values).sum())
        self._count += values.size

    @property
    def value(self) -> float:
        """The root mean square of all values so far, >= 0."""
        return float(np.sqrt(self._squares / self._count)) if self._count else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Sum of squares, and number of values."""
        return {"squares": self._squares, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned."""
        self._squares, self._count = float(state["squares"]), int(state["count"])


class CalibratedReward(VecEnvWrapper):
    """SB3 wrapper that replaces the reward of each slot, its student's, by its instance's calibrated reward.

    The slots of a student that is lost (`Transition.lost`) have come to the end of their episode: its last reward is
    that of the update by which it was lost, and calibrations see none of its later ones, which pay 0.

    Args:
        venv: a `VectorEnvAdapter` of an environment of students.
        calibration: divides the rewards among the instances.
        scale: factor on all rewards, > 0.

    Raises:
        InputError: for a scale that is not > 0 and finite, or another environment.
    """

    def __init__(self, venv: VecEnv, calibration: Calibration, scale: float = 1.0) -> None:
        if not 0.0 < scale < float("inf"):
            raise InputError(f"scale must be > 0 and finite, got {scale}")
        super().__init__(venv)
        self.calibration, self.scale = calibration, scale
        self._env = student_env(venv)
        self._going = np.ones(self._env.students, dtype=bool)

    def reset(self) -> VecEnvObs:
        """Start new episodes in all slots; returns their first observations, [K * B, F]."""
        self._going[:] = True
        observations = self.venv.reset()
        self.reset_infos = self.venv.reset_infos
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step; returns observations, calibrated and scaled rewards [K * B], episode ends, and infos.

        Raises:
            InputError: if the calibration changes the mean reward of a batch.
        """
        observations, _, ended, infos = self.venv.step_wait()
        transition = self._env.transition
        rewards = np.zeros(transition.temperatures.shape)
        if self._going.any():
            counted = transition.of(self._going)
            calibrated = self.calibration.calibrate(counted)
            _check_mean(self.calibration, calibrated, counted)
            rewards[self._going] = calibrated
        if transition.lost is not None:
            self._going &= ~transition.lost
        over = ended | np.repeat(~self._going, self._env.batch_size)
        self._going |= ended.all()
        return observations, (self.scale * rewards).reshape(-1).astype(np.float32), over, infos


def _check_mean(calibration: Calibration, rewards: Floats, transition: Transition) -> None:
    """Raise `InputError` unless rewards [K, B] have the mean R_k in each batch, up to rounding errors."""
    name = type(calibration).__name__
    if rewards.shape != transition.temperatures.shape:
        raise InputError(f"{name} must answer rewards of shape {transition.temperatures.shape}, got {rewards.shape}")
    off = np.abs(rewards.mean(axis=1) - transition.reward)
    # A comparison with NaN is false, so that NaN is refused.
    if not (off <= 1e-5 * np.abs(rewards).mean(axis=1) + 1e-12).all():
        student = int(np.nanargmax(off)) if not np.isnan(off).all() else 0
        got, want = rewards[student].mean(), transition.reward[student]
        raise InputError(f"{name} must keep the mean reward of a batch: student {student} got {got:g}, wants {want:g}")
