"""Metrics of one rollout and its update."""

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from rltemp.agents.vec_env import student_env
from rltemp.envs.contract import Flags, Transition
from rltemp.progress import Progress

__all__ = ["PHASES", "RolloutRecord", "RolloutRecorder", "tensorboard_tag", "update_metrics"]

PHASES = ("0_20", "20_40", "40_60", "60_80", "80_100")
"""Parts of a run, in percent of its updates, over which temperatures are averaged."""

_UPDATE = {
    "kl": "train/approx_kl",
    "std": "train/std",
    "clip_fraction": "train/clip_fraction",
    "explained_variance": "train/explained_variance",
    "policy_loss": "train/policy_gradient_loss",
    "value_loss": "train/value_loss",
    "entropy_loss": "train/entropy_loss",
}

_TAGS = {**_UPDATE, "return": "rollout/ep_rew_mean", "return_std": "reward/return_std", "score": "eval/score"}


class RolloutRecord:
    """Rewards and temperatures of a rollout, from the environment's transitions."""

    def __init__(self) -> None:
        self._rewards: list[np.ndarray] = []
        self._log_temperatures: list[np.ndarray] = []
        self._lost: list[Flags] = []

    def note(self, transition: Transition) -> None:
        """Add one step."""
        self._rewards.append(transition.reward.astype(np.float64))
        self._log_temperatures.append(np.log2(transition.temperatures.astype(np.float64)))
        nobody = np.zeros(len(transition.reward), dtype=bool)
        self._lost.append(nobody if transition.lost is None else transition.lost)

    @property
    def returns(self) -> np.ndarray:
        """Sum of every student's rewards, [K] float64."""
        total: np.ndarray = np.sum(self._rewards, axis=0)
        return total

    @property
    def lost(self) -> Flags:
        """Which students diverged, [K]."""
        return self._lost[-1]

    def metrics(self) -> dict[str, float]:
        """Metrics of the rollout.

        `return` and `return_std`: mean and standard deviation over students of a run's decrease of the probe loss.
        `diverged`: number of students that were lost, whose temperatures count until then. `temperature_*`: geometric
        mean of the temperatures in each phase of the run, NaN where nobody was left. `temperature_spread`: standard
        deviation over the instances of a batch of log2 T, averaged over the run.
        """
        returns, lost = self.returns, np.stack(self._lost)
        chosen = np.vstack((np.ones_like(lost[:1]), ~lost[:-1]))  # by students that were there before the update
        logs = np.stack(self._log_temperatures)
        metrics = {"return": float(returns.mean()), "return_std": float(returns.std())}
        metrics["diverged"] = float(self.lost.sum())
        parts = (np.array_split(values, len(PHASES)) for values in (logs, chosen))
        for phase, within, by in zip(PHASES, *parts, strict=True):
            part = within[by]
            metrics[f"temperature_{phase}"] = float(2.0 ** part.mean()) if part.size else float("nan")
        metrics["temperature_spread"] = float(logs[chosen].std(axis=1).mean())
        return metrics


class RolloutRecorder(BaseCallback):
    """Callback of SB3 that records a rollout.

    Args:
        progress: advances with every step.

    Attributes:
        record: of the rollout.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self.record = RolloutRecord()

    def _on_step(self) -> bool:
        self.record.note(student_env(self.training_env).transition)
        self._progress.advance()
        return True


def update_metrics(model: PPO) -> dict[str, float]:
    """Metrics that SB3 logged for its last update: KL divergence, noise, share of clipped ratios, and losses."""
    logged = model.logger.name_to_value
    return {name: float(logged[key]) for name, key in _UPDATE.items()}


def tensorboard_tag(name: str) -> str:
    """The TensorBoard tag of a metric: SB3's where it has one, so that runs of both stand in the same charts."""
    group, _, rest = name.partition("_")
    return f"temperature/{rest}" if group == "temperature" else _TAGS.get(name, name)
