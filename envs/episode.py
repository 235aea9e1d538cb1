"""One KD run of K students as a decision process.

    state       logits of students and teacher on the next minibatch, and the progress of the run
    action      a temperature per instance, on a log scale
    reward      decrease of the loss of a held-out probe by the update, or by several updates at the last of them
    end         the end of the schedule, always at the same step: a terminal state, no truncation

The reward is caused by the action it follows, and it telescopes: its sum over an episode is the decrease of the probe
loss by the whole run.

A student whose logits are not finite, or too large to recover, ends the episode with a `DivergenceError`. Inside an
`unchecked` block it has lost instead, and the others go on: its loss is from there on what it was, and no less than
`loss_of_lost`; what is observed of it, its influence and its effects are 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rltemp.actions import ActionMap
from rltemp.distillation.divergence import diverged
from rltemp.distillation.mixup import MixUp
from rltemp.distillation.population_probe import PopulationProbe
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.task import Task
from rltemp.envs.contract import Floats, Transition
from rltemp.envs.credit_plan import CreditPlan
from rltemp.envs.objective import loss_of_lost
from rltemp.envs.reward import ProbeReward
from rltemp.envs.unrolling import UnrolledRun
from rltemp.errors import InputError
from rltemp.features import ALIGNED_FEATURES, LOGIT_FEATURES, LogitFeatures
from rltemp.recipes.schema import PolicySpace, Recipe
from rltemp.temperatures import Temperatures
from rltemp.transfer import to_device

__all__ = ["Episode", "InstanceEffects", "make_features"]


class Episode:
    """The KD run of K fresh students, with observations, rewards, and the effects of temperatures.

    Args:
        task: the distillation problem; its validation images are the reward's probe.
        recipe: what a policy observes and may choose (`policy`), how it is credited (`agent.credit`,
            `agent.reward_every`), and what it explores on (`agent.explore`).
        seeds: one per student.

    Raises:
        InputError: for features that need an alignment if `policy.alignment` is "none", or a position that images have
            not.
    """

    # Learners step environments without gradients, as suits most; a student takes its own.
    @torch.inference_mode(False)
    def __init__(self, task: Task, recipe: Recipe, seeds: Sequence[int]) -> None:
        self._map, self._agent = recipe.policy.actions, recipe.agent
        self._features = make_features(recipe.policy)
        explored = range(math.ceil(recipe.agent.explore * task.steps))
        self._run = DistillationRun(task, seeds, mixup=MixUp(explored) if explored else None)
        self._unrolled = None
        if recipe.agent.credit == "hindsight":
            self._unrolled = UnrolledRun(self._run, CreditPlan.of(recipe.agent, task.steps))
        self._probe = PopulationProbe.of(task, recipe.policy, seeds)
        self._position = None if task.position is None else task.position.repeat(len(seeds))
        if "position" in self._features.needs and self._position is None:
            raise InputError("policy.features must do without 'position' where instances are no tokens, got it")
        self._reward = ProbeReward(task, recipe.agent.objective)
        self._loss = self._reward.loss(self._run.students)
        self._least = loss_of_lost(recipe.agent.objective, task.training.classes)
        self._lost = torch.zeros(len(seeds), dtype=torch.bool, device=self._loss.device)
        self._seen = self._look()

    @property
    def observation(self) -> Floats:
        """Features of the next minibatch, [K, B, F] float32 in [0, 1]; a new array at every access."""
        return _to_numpy(self._seen)

    @property
    def finished(self) -> bool:
        """Whether all updates of the schedule are done."""
        return self._run.finished

    @property
    def effects(self) -> InstanceEffects | None:
        """Effects of temperatures on the end of the run; None before its end, or without credit in hindsight."""
        if self._unrolled is None or not self.finished:
            return None
        return InstanceEffects(self._unrolled, self._map, self._lost)

    @torch.inference_mode(False)
    def step(self, actions: npt.ArrayLike) -> Transition:
        """Make one update of every student at `actions` [K, B], or [K, B, A] for A > 1, in [-1, 1].

        Raises:
            InputError: after the last update, or for actions of another shape or not finite.
            DivergenceError: for students whose logits are not finite, or too large to recover.
        """
        values = _checked(actions, self._seen.shape[:2], self._map, self._seen.device)
        temperatures = _temperatures(values, self._map)
        influence = None
        if self._agent.credit == "influence":
            influence = self._reward.influence(self._run, temperatures)
        if self._unrolled is not None:
            self._unrolled.note(temperatures)
        seen, before = self._seen, self._loss
        self._run.update(temperatures)
        if self._run.finished or self._run.step % self._agent.reward_every == 0:
            self._loss = self._reward.loss(self._run.students)
        if self._unrolled is not None:
            self._unrolled.mark()
            if self._run.finished:
                self._unrolled.look_back(self._reward.gradient(self._run.students))
        self._lost = self._lost | ~torch.isfinite(self._loss)
        self._seen = self._look()
        self._loss = torch.where(self._lost, before.clamp(min=self._least), self._loss)
        return Transition(
            features=_to_numpy(seen),
            temperatures=_to_numpy(temperatures.teacher.view(self._seen.shape[:2])),
            reward=_to_numpy(before - self._loss),
            influence=None if influence is None else _to_numpy(_zeroed(influence, self._lost)),
            lost=self._lost.cpu().numpy().copy(),
        )

    def _look(self) -> Tensor:
        """Features [K, B, F] in [0, 1] of the next minibatch, on which it shows who is lost."""
        seen = self._run.observe()
        self._lost = self._lost | diverged(seen.student.logits)
        alignment = self._probe.alignment(self._run.students, seen) if self._probe is not None else None
        features = self._features(
            seen.student.logits.flatten(0, 1),
            seen.teacher_logits.flatten(0, 1),
            seen.minibatch.targets.flatten(),
            seen.progress,
            alignment.flatten(0, 1) if alignment is not None else None,
            students=len(seen.minibatch.targets),
            position=self._position,
        )
        return _zeroed(features.view(*seen.minibatch.targets.shape, -1), self._lost)


class InstanceEffects:
    """First-order effects of actions on the probe loss at the end of a finished run.

    Args:
        unrolled: the run, after its backward pass (`UnrolledRun.look_back`).
        map_: from actions to temperatures.
        lost: students [K] bool that diverged, of which no effect is known.
    """

    def __init__(self, unrolled: UnrolledRun, map_: ActionMap, lost: Tensor) -> None:
        self._unrolled, self._map, self._lost = unrolled, map_, lost

    @torch.inference_mode(False)
    def of(self, actions: npt.ArrayLike) -> Floats:
        """Decrease of the probe loss at the end by each instance, if it had got this action, all else being equal.

        Args:
            actions: [steps, K, B], or [steps, K, B, A] for A > 1, in [-1, 1]; or N such alternatives, [N, ...].

        Returns:
            [steps, K, B], or [N, steps, K, B]; larger is better, and 0 at steps that are not credited and for students
            that are lost. Only differences between actions of one instance are meaningful.

        Raises:
            InputError: for actions of another shape or not finite.
        """
        values, shape = np.asarray(actions), self._unrolled.shape
        several = values.ndim > len(shape) + (self._map.count > 1)
        chosen = _checked(values, (len(values), *shape) if several else shape, self._map, self._unrolled.device)
        alternatives = chosen if several else chosen[None]
        effects = self._unrolled.effects_of_each(
            lambda step: [_temperatures(part, self._map) for part in alternatives[:, step]]
        )
        # Near its end a student may have effects beyond all numbers, of which as little is known.
        finite = effects.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        known = _zeroed(finite.movedim(2, 0), self._lost).movedim(0, 2)
        return _to_numpy(known if several else known[0])


def make_features(space: PolicySpace) -> LogitFeatures:
    """The features that a policy of this space observes; by default all that its alignment allows.

    Raises:
        InputError: for features that need an alignment if `space.alignment` is "none".
    """
    usual = LOGIT_FEATURES if space.alignment == "none" else ALIGNED_FEATURES
    features = LogitFeatures(space.features or usual)
    if space.alignment == "none" and "alignment" in features.needs:
        raise InputError(f"policy.features need policy.alignment, got 'none' with {', '.join(features.names)}")
    return features


def _temperatures(actions: Tensor, map_: ActionMap) -> Temperatures:
    """Of K * B instances, from actions [K, B] or [K, B, A]."""
    return map_.temperatures(actions.reshape(-1, map_.count))


def _checked(actions: npt.ArrayLike, shape: Sequence[int], map_: ActionMap, device: torch.device) -> Tensor:
    values, want = np.array(actions, dtype=np.float32), [*shape, *([map_.count] if map_.count > 1 else [])]
    if list(values.shape) != want or not np.isfinite(values).all():
        raise InputError(f"actions must be finite and have shape {want}, got shape {list(values.shape)}")
    return to_device(torch.from_numpy(values), device)


def _zeroed(values: Tensor, lost: Tensor) -> Tensor:
    """The values [K, ...] of students, 0 for those that are lost [K]."""
    return values.masked_fill(lost.view(-1, *[1] * (values.ndim - 1)), 0.0)


def _to_numpy(tensor: Tensor) -> Floats:
    """Copy a tensor to a new float32 array, which the receiver may keep or write into."""
    return tensor.detach().cpu().float().numpy().copy()
