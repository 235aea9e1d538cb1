"""What all ways of learning a policy have in common: rollouts with metrics, the best weights so far, a state."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from rltemp.errors import DivergenceError, InputError, to_continue
from rltemp.features import LogitFeatures
from rltemp.policies.learned import LearnedPolicy
from rltemp.progress import Progress
from rltemp.recipes.renamed import rename_agent
from rltemp.recipes.schema import Agent, PolicySpace

__all__ = ["Learner", "episode_seed"]

_PATIENCE = 10
"""Rollouts in a row that may lose all their students: of several tasks, some may be hopeless."""


class Learner(ABC):
    """A policy in training: everything that the next rollout depends on, and the metrics of past rollouts.

    A learner that continues from `state_dict()` gives the same result, bit for bit, as one that never stopped.

    Rollouts are played in `unchecked` blocks: a student that diverges has lost (`Transition.lost`), and the others go
    on.

    Args:
        agent: the settings.

    Attributes:
        agent: the settings.
        history: metrics of every rollout so far.
        best: score, rollout, and weights of the best policy so far; None unless `keep_best` is used.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] | None = None

    @property
    def free(self) -> frozenset[str]:
        """Names of the settings that may change when training continues."""
        return frozenset()

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps of the environment in a rollout."""

    @abstractmethod
    def rollout(self, progress: Progress | None = None) -> dict[str, float]:
        """Play one episode with every student, learn from it, and return its metrics.

        Args:
            progress: advances with every step of the environment.

        Raises:
            DivergenceError: for an agent that is not finite, or where no student is left (`_note`); `history` then has
                no entry for this rollout.
        """

    @abstractmethod
    def export(self, features: LogitFeatures, space: PolicySpace, card: Mapping[str, Any]) -> LearnedPolicy:
        """The policy as it is now, with copies of its weights.

        Args:
            features: what it observes.
            space: what its actions mean.
            card: how it was trained, as plain JSON values.
        """

    @abstractmethod
    def start_from(self, policy: LearnedPolicy) -> None:
        """Take the weights of `policy`, which has the features, layers and range of this training."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """The weights of the policy, by name."""

    @abstractmethod
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Restore what `weights()` returned."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that the next rollout depends on, and the history, as tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned.

        Raises:
            InputError: for the state of other settings, of which only those in `free` may differ; this learner must
                then be discarded.
        """

    def keep_best(self, score: float) -> None:
        """Record the current policy's score, higher is better, and keep its weights if it is the highest so far."""
        self.history[-1]["score"] = score
        if self.best is None or score > self.best["score"]:
            weights = copy.deepcopy(self.weights())
            self.best = {"score": score, "rollout": len(self.history), "policy": weights}

    def restore_best(self) -> None:
        """Load the weights with the highest score, if any were kept."""
        if self.best is not None:
            self.load_weights(self.best["policy"])

    def _note(self, metrics: dict[str, float], tasks: int) -> dict[str, float]:
        """Append a rollout's metrics to the history, and return them.

        Args:
            metrics: with the number of students that `diverged`.
            tasks: which the rollouts play.

        Raises:
            DivergenceError: if all students of this rollout and of others right before it diverged: of ten in a row,
                or, as long as none had a survivor, of as many as there are tasks.
        """
        count = len(self.history) + 1
        all_lost = [past.get("diverged", 0.0) >= self.agent.students for past in (*self.history, metrics)]
        in_a_row = count if all(all_lost) else all_lost[::-1].index(False)
        if in_a_row >= (min(tasks, _PATIENCE) if all(all_lost) else _PATIENCE):
            which = f"rollout {count}" if in_a_row == 1 else f"rollouts {count - in_a_row + 1} to {count}"
            raise DivergenceError(
                f"all students of {which} diverged: lower optimization.lr, or ce_weight and kd_weight where they are "
                "large, or policy.scale_range"
            )
        self.history.append(metrics)
        return metrics

    def _turn(self, tasks: int) -> dict[str, int] | None:
        """Which of several tasks the next rollout plays, as options of the environment's reset.

        All are played in each pass, in an order of its own, so that none always follows another.
        """
        if tasks == 1:
            return None
        passed, place = divmod(len(self.history), tasks)
        return {"task": int(self._generator("tasks", passed).permutation(tasks)[place])}

    def _rate(self) -> float:
        """The learning rate, constant in the first half of the rollouts, and falling to 0 in the second."""
        whole = self.agent.rollouts
        return self.agent.learning_rate * min(1.0, 2.0 * (whole - len(self.history)) / whole)

    def _generator(self, purpose: str, number: int = 0) -> np.random.Generator:
        """Draws that depend on the seed and the rollout alone, so that nothing has to be kept to resume."""
        return np.random.default_rng([self.agent.seed, *purpose.encode(), number])

    def _diverged(self) -> DivergenceError:
        """That the agent itself is not finite."""
        return DivergenceError(
            f"the agent diverged in rollout {len(self.history) + 1}: "
            "lower agent.learning_rate, or agent.log_std_init and agent.reward_scale where they are large"
        )

    def _common_state(self) -> dict[str, Any]:
        history = [dict(metrics) for metrics in self.history]
        return {"agent": dataclasses.asdict(self.agent), "history": history, "best": self.best}

    def _load_common_state(self, state: Mapping[str, Any]) -> None:
        saved = rename_agent(state["agent"])
        # Settings that the saved training did not have yet were at what is their default.
        ours, theirs = dataclasses.asdict(self.agent), {**dataclasses.asdict(Agent()), **saved}
        names = (ours.keys() | theirs.keys()) - self.free
        different = sorted(name for name in names if ours.get(name) != theirs.get(name))
        if different:
            name = different[0]
            raise InputError(to_continue(f"agent.{name}", theirs.get(name), ours.get(name)))
        best = state["best"]
        self.best = None if best is None else {**best, "score": float(best["score"])}
        self.restore_best()  # raises if these weights do not fit
        self.history = [dict(metrics) for metrics in state["history"]]


def episode_seed(seed: int, rollout: int) -> int:
    """The environment's seed for one rollout; < 2**30, since SB3 adds the slot's index to it, below 2**31."""
    return int(np.random.SeedSequence([seed, *b"episodes", rollout]).generate_state(1)[0] >> np.uint32(2))
