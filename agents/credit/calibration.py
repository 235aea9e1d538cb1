"""From the reward of a batch to rewards of its instances, without changing what the batch earned.

One update serves B instances and earns one reward R. Paying R to every instance is correct and says nothing about which
temperature earned it; a calibration moves pay between the instances of a batch, mean_i r_i = R (the idea of "instance
reward calibration" in RLKD, Zhang 2024, arXiv 2407.00115, section 3.3; the forms are ours).
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
    """Divides the reward of every student among its instances."""

    @abstractmethod
    def calibrate(self, transition: Transition) -> Floats:
        """Rewards of the instances, [K, B], with mean_i r_ki = R_k whatever the order of the instances."""

    def update(self) -> None:  # noqa: B027 (most have nothing to learn)
        """Learn from the transitions seen so far; called between two rollouts."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Continue from `state_dict()`."""


class Uniform(Calibration):
    """Every instance is paid what its batch earned: r_i = R."""

    def calibrate(self, transition: Transition) -> Floats:
        """R of the student for each of its instances, [K, B]."""
        return np.repeat(transition.reward[:, None].astype(np.float64), transition.temperatures.shape[1], axis=1)


class Influence(Calibration):
    """Instances are paid for their own first-order effect c_i on the probe loss.

    r_i = R + weight * (rms(R) / rms(c - mean c)) * (c_i - mean c), where mean c is over the batch and both root mean
    squares run over all transitions so far. The quotient gives c the units of R, so that a weight means the same on
    every network, data set and learning rate: at 1, pay differs within a batch about as much as R is large. It is one
    number for all instances of a step: where temperatures matter more, pay differs more.

    Args:
        weight: size of the instances' part, >= 0; 0 is `Uniform`.
    """

    def __init__(self, weight: float) -> None:
        if not 0.0 <= weight < float("inf"):
            raise InputError(f"weight must be >= 0 and finite, got {weight}")
        self.weight = weight
        self._reward, self._influence = RunningRms(), RunningRms()

    def calibrate(self, transition: Transition) -> Floats:
        """R plus the scaled, centered influence, [K, B]."""
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
        """Both running root mean squares."""
        return {"reward": self._reward.state_dict(), "influence": self._influence.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self._reward.load_state_dict(state["reward"])
        self._influence.load_state_dict(state["influence"])


class RunningRms:
    """Root mean square of all values seen so far; 0 before the first."""

    def __init__(self) -> None:
        self._squares, self._count = 0.0, 0

    def include(self, values: Floats) -> None:
        """Take values of any shape into account."""
        self._squares += float(np.square(values).sum())
        self._count += values.size

    @property
    def value(self) -> float:
        """The root mean square."""
        return float(np.sqrt(self._squares / self._count)) if self._count else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Sum of squares and number of values."""
        return {"squares": self._squares, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self._squares, self._count = float(state["squares"]), int(state["count"])


class CalibratedReward(VecEnvWrapper):
    """Pays every slot its instance's calibrated reward instead of its student's.

    Args:
        venv: an environment of students, in a `VectorEnvAdapter`.
        calibration: divides the rewards.
        scale: factor on all rewards, > 0.
    """

    def __init__(self, venv: VecEnv, calibration: Calibration, scale: float = 1.0) -> None:
        if not 0.0 < scale < float("inf"):
            raise InputError(f"scale must be > 0 and finite, got {scale}")
        super().__init__(venv)
        self.calibration, self.scale = calibration, scale
        self._env = student_env(venv)

    def reset(self) -> VecEnvObs:
        """Start new episodes in all slots."""
        observations = self.venv.reset()
        self.reset_infos = self.venv.reset_infos
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step and pay the instances.

        Raises:
            InputError: if the calibration changes what a batch earned.
        """
        observations, _, ended, infos = self.venv.step_wait()
        transition = self._env.transition
        rewards = self.calibration.calibrate(transition)
        _check_mean(self.calibration, rewards, transition)
        return observations, (self.scale * rewards).reshape(-1).astype(np.float32), ended, infos


def _check_mean(calibration: Calibration, rewards: Floats, transition: Transition) -> None:
    """Refuse rewards whose mean over a batch is not what it earned, up to rounding at the size of the rewards."""
    name = type(calibration).__name__
    if rewards.shape != transition.temperatures.shape:
        raise InputError(f"{name} must answer rewards of shape {transition.temperatures.shape}, got {rewards.shape}")
    off = np.abs(rewards.mean(axis=1) - transition.reward)
    # Written so that NaN is refused too.
    if not (off <= 1e-5 * np.abs(rewards).mean(axis=1) + 1e-12).all():
        student = int(np.nanargmax(off)) if not np.isnan(off).all() else 0
        got, want = rewards[student].mean(), transition.reward[student]
        raise InputError(f"{name} must keep the mean reward of a batch: student {student} got {got:g}, wants {want:g}")
