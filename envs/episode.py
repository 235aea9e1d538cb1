"""The decision process behind both environments: one step is one update of K students.

    state       what the students and the teacher say of the next minibatch, and how far the run is
    action      a temperature per instance, on a log scale
    reward      loss of a held-out probe before the update, minus after it; or of several updates with the last of them
    end         the end of the schedule, always at the same step: a terminal state, no truncation

The reward is caused by the action it is paid for, and it telescopes: its sum over an episode is the improvement of the
whole run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rltemp.distillation.population_probe import PopulationProbe
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.task import Task
from rltemp.envs.reward import ProbeReward
from rltemp.envs.transition import Transition
from rltemp.envs.unrolling import Hindsight
from rltemp.errors import InputError
from rltemp.features import ALIGNED_FEATURES, LOGIT_FEATURES, LogitFeatures
from rltemp.recipes.schema import PolicySpace
from rltemp.temperatures import Temperatures, action_to_temperature

__all__ = ["Credit", "DistillationProcess", "make_features"]

Floats = npt.NDArray[np.float32]

Credit = Literal["none", "influence", "hindsight"]
"""What is told of single instances: nothing, their effect on the next loss at every step, or on the last at the end."""


class DistillationProcess:
    """K students, their minibatches, and what their temperatures are worth.

    Args:
        task: what is distilled into what; its validation images are the reward's probe.
        space: what a policy sees and may choose.
        credit: what is told of single instances.
        reward_every: updates that are paid together, with the last of them.

    Raises:
        InputError: for a cadence < 1, or one > 1 beside credit="influence", which needs the probe at every update.
    """

    def __init__(self, task: Task, space: PolicySpace, credit: Credit = "influence", *, reward_every: int = 1) -> None:
        if reward_every < 1 or (reward_every > 1 and credit == "influence"):
            raise InputError(f"reward_every must be >= 1, and 1 for credit='influence', got {reward_every}")
        self.task = task
        self.space = space
        self.features = make_features(space)
        self._credit: Credit = credit
        self._reward_every = reward_every
        self._episode: _Episode | None = None
        self._hindsight: Hindsight | None = None

    def reset(self, seeds: Sequence[int]) -> Floats:
        """Fresh students, one per seed; their first observation, [K, B, F] in [0, 1]."""
        self._episode = _Episode(self.task, self.space, self.features, seeds, self._credit, self._reward_every)
        return _to_numpy(self._episode.seen)

    def step(self, actions: npt.ArrayLike) -> tuple[Floats, Transition, bool]:
        """One update at the temperatures that `actions` [K, B] in [-1, 1] mean.

        Returns:
            The next observation [K, B, F], what the step did, and whether the run is at its end.

        Raises:
            InputError: before `reset` and after the end, or for actions of another shape or not finite.
        """
        if self._episode is None:
            raise InputError("the environment must be reset before its first step")
        transition = self._episode.step(self._temperature(actions, list(self._episode.seen.shape[:2])))
        if self._episode.run.finished:
            self._hindsight = self._episode.hindsight
        return _to_numpy(self._episode.seen), transition, self._episode.run.finished

    def effects(self, actions: npt.ArrayLike) -> Floats:
        """First-order effects of actions [steps, K, B] on what the last finished run gained, [steps, K, B].

        How much an instance lowered the loss at the end, had it got this action and all else been as it was. Only
        differences between actions of one instance mean something.

        Raises:
            InputError: without credit="hindsight", before the end of an episode, or for actions of another shape.
        """
        if self._hindsight is None:
            raise InputError('effects() needs credit="hindsight" and an episode that came to its end')
        temperatures = self._temperature(actions, list(self._hindsight.shape)).flatten(1)
        return _to_numpy(self._hindsight.effects([Temperatures.shared(t, self.space.scale) for t in temperatures]))

    def _temperature(self, actions: npt.ArrayLike, want: list[int]) -> Tensor:
        values = torch.as_tensor(np.array(actions, dtype=np.float32))
        if list(values.shape) != want or not bool(torch.isfinite(values).all()):
            raise InputError(f"actions must be finite and have shape {want}, got shape {list(values.shape)}")
        return action_to_temperature(values, self.space.low, self.space.high).to(self.task.train.device)


def make_features(space: PolicySpace) -> LogitFeatures:
    """What a policy of this space sees.

    Raises:
        InputError: for features that need an alignment where there is none.
    """
    usual = LOGIT_FEATURES if space.alignment == "none" else ALIGNED_FEATURES
    features = LogitFeatures(space.features or usual)
    if space.alignment == "none" and "alignment" in features.needs:
        raise InputError(f"policy.features need policy.alignment, got 'none' with {', '.join(features.names)}")
    return features


class _Episode:
    """One KD run of K students, seen through the features and paid by the probe."""

    def __init__(
        self,
        task: Task,
        space: PolicySpace,
        features: LogitFeatures,
        seeds: Sequence[int],
        credit: Credit,
        reward_every: int,
    ) -> None:
        self.run = DistillationRun(task, seeds)
        self.hindsight = Hindsight(self.run) if credit == "hindsight" else None
        self._influences = credit == "influence"
        self._scale = space.scale
        self._features = features
        self._eye = PopulationProbe.of(task, space, seeds)
        self._reward = ProbeReward(task)
        self._reward_every = reward_every
        self._loss = self._reward.loss(self.run.students)
        self.seen = self._look()

    def step(self, temperature: Tensor) -> Transition:
        """One update at temperatures [K, B]."""
        temperatures = Temperatures.shared(temperature.flatten(), self._scale)
        influence = torch.full_like(temperature, torch.nan)
        if self._influences:
            influence = self._reward.influence(self.run, temperatures)
        if self.hindsight is not None:
            self.hindsight.note(temperatures)
        seen = self.seen
        self.run.update(temperatures)
        before = self._loss
        if self.run.finished or self.run.step % self._reward_every == 0:
            self._loss = self._reward.loss(self.run.students)
        if self.hindsight is not None and self.run.finished:
            self.hindsight.look_back(self._reward.gradient(self.run.students))
        self.seen = self._look()
        return Transition(
            features=_to_numpy(seen),
            temperatures=_to_numpy(temperature),
            influence=_to_numpy(influence),
            reward=_to_numpy(before - self._loss),
        )

    def _look(self) -> Tensor:
        """Features [K, B, F] of the next minibatch."""
        observation = self.run.observe()
        alignment = self._eye.alignment(self.run.students, observation) if self._eye is not None else None
        students, instances = observation.minibatch.targets.shape
        features = self._features(
            observation.student.logits.flatten(0, 1),
            observation.teacher_logits.flatten(0, 1),
            observation.minibatch.targets.flatten(),
            observation.progress,
            alignment.flatten(0, 1) if alignment is not None else None,
        )
        return features.view(students, instances, -1)


def _to_numpy(tensor: Tensor) -> Floats:
    """A copy as float32: whoever receives it may keep it, or write into it."""
    return tensor.detach().cpu().float().numpy().copy()
