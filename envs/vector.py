"""Distillation of K students as a Gymnasium `VectorEnv` with one slot per instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.distillation.task import Task
from rltemp.envs.contract import Floats, StudentVectorEnv, Transition, draw_seeds
from rltemp.envs.credit_memory import check_credit_memory
from rltemp.envs.episode import Episode, make_features
from rltemp.envs.from_recipe import resolve
from rltemp.envs.transition import joined
from rltemp.errors import InputError
from rltemp.recipes import Recipe

__all__ = ["DistillationVectorEnv"]


class DistillationVectorEnv(StudentVectorEnv):
    """Distillation of K students with B instances each: slots k * B to k * B + B - 1 belong to student k.

    The agent's network is a function of one instance, whatever the batch size, and can be reused anywhere. Observation
    Box [F] in [0, 1]; action Box(-1, 1, (1,)), a log scale of temperatures, or Box(-1, 1, (A,)), for a recipe whose
    actions have A numbers (`ActionMap`). Every slot gets its student's reward, the decrease of its probe loss in nats,
    at every `agent.reward_every`-th update of the recipe. The recipe's
    `agent.credit` decides what is known of single instances: with "influence" their effect on the next loss, in every
    `transition`; with "hindsight" their effect on the last loss, by `effects` after an episode. All slots end together,
    with `terminated`; see `StudentVectorEnv` for the autoreset modes.

    Args:
        num_envs: K * B, a multiple of the recipe's instances per minibatch: its batch size, times `data.context` for
            texts.
        recipe: name or file of a recipe, or a `Recipe`; by default "digits-short".
        task: the recipe's task if it is already built, which saves training the teacher again. If several are given,
            each episode plays one: that of `reset(options={"task": index})`, or a random one.
        twins: whether students 2j and 2j + 1 are the same student, with the same images in the same order, so that
            what they do differs by their actions alone.
        autoreset_mode: what happens at the end of an episode.
        ranks: processes that each hold the whole environment, and train a share of its students: all must be reset with
            the same seed and make the same steps, and all see what all students did.
        **overrides: values of the recipe, by dotted name or nested.

    Attributes:
        feature_names: names of the F columns of an observation.
        policy_space: what actions mean, and what is observed.

    Raises:
        InputError: for a wrong recipe or override, a `num_envs` that is no multiple of the batch size, tasks that
            differ in batch size or number of updates, or credit in hindsight that would run out of memory; for a number
            of students that is no multiple of that of `ranks`.
    """

    def __init__(
        self,
        num_envs: int,
        recipe: str | Recipe = "digits-short",
        *,
        task: Task | Sequence[Task] | None = None,
        twins: bool = False,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        ranks: Ranks = ALONE,
        **overrides: Any,
    ) -> None:
        self._recipe, self._tasks = resolve(recipe, task, overrides)
        batch_size, horizon = _common(self._tasks)
        students, rest = divmod(num_envs, batch_size)
        if rest or students < 1:
            raise InputError(
                f"num_envs must be a multiple of the batch size {batch_size}, a slot per instance, got {num_envs}"
            )
        if twins and students % 2:
            raise InputError(f"num_envs must be that of an even number of students with twins, got {students} students")
        self._twins = twins
        self._ranks, self._own = ranks, ranks.share("agent.students", students)
        self._check_memory(students // ranks.count)
        self.policy_space = self._recipe.policy
        self.feature_names = make_features(self.policy_space).names
        super().__init__(
            students=students,
            batch_size=batch_size,
            features=len(self.feature_names),
            horizon=horizon,
            actions=self.policy_space.actions.count,
            credit_kinds=(self._recipe.agent.credit,),
            tasks=len(self._tasks),
            autoreset_mode=autoreset_mode,
        )
        self._episode: Episode | None = None
        self._effects: Callable[[Floats], Floats] | None = None

    def start_episode(self, task: int) -> Floats:
        """Start the KD runs of K fresh students on a task; returns the first observation, [K, B, F] in [0, 1]."""
        return self.start_students(task, draw_seeds(self.np_random, self.students, self._twins))

    def start_students(self, task: int, seeds: Sequence[int]) -> Floats:
        """Start the KD runs of students with these seeds, one each, on a task; returns the first observation."""
        self._episode = None  # frees the last episode before the next is made
        own = seeds[self._own]
        return np.concatenate(self._ranks.gather(lambda: self._begin(task, own)))

    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        """Make one update of every student at `actions` [K, B], or [K, B, A] for A > 1.

        Returns:
            The next observation, [K, B, F] in [0, 1], and the transition of the update.
        """
        observations, transitions = zip(*self._ranks.gather(lambda: self._step(actions[self._own])), strict=True)
        return np.concatenate(observations), joined(transitions)

    def effects(self, actions: Floats) -> Floats:
        """First-order effects of actions on the loss at the end of the last finished episode.

        An effect is the decrease of that loss by the slot's instance, if it had got this action and everything else had
        been the same. Only differences between actions of one instance are meaningful. With the recipe's
        agent.checkpoints "auto", every call makes the run anew: ask for alternatives in one call.

        Args:
            actions: [horizon, K * B], or [horizon, K * B, A], in [-1, 1]; or N such alternatives, [N, ...].

        Returns:
            [horizon, K * B], or [N, horizon, K * B]; 0 at updates that are not credited.

        Raises:
            InputError: without the recipe's agent.credit "hindsight", before the end of an episode, after `forget`, or
                for actions of another shape.
        """
        if self._effects is None:
            raise InputError("effects() needs a recipe with agent.credit 'hindsight' and an episode at its end")
        values, slots = np.asarray(actions), -1 if self.actions == 1 else -2
        if self.actions == 1 and values.shape[-2:] == (self.num_envs, 1):
            values = values[..., 0]  # as the action space has them
        steps = values.shape[:slots]
        by_student = values.reshape(*steps, self.students, self.batch_size, *values.shape[slots:][1:])
        known, own = self._effects, by_student.take(range(self.students)[self._own], axis=len(steps))
        return np.concatenate(self._ranks.gather(lambda: known(own)), axis=len(steps)).reshape(*steps, -1)

    def forget(self) -> None:
        """Free the recorded run of the last finished episode, which `effects` needs."""
        self._effects = None

    def _check_memory(self, students: int) -> None:
        """Refuse credit that would run out of memory for so many students of this process."""
        first = self._tasks[0]
        check_credit_memory(self._recipe, first, students, updates=first.steps, images=len(first.training))

    def _begin(self, task: int, seeds: Sequence[int]) -> Floats:
        """Start the episode of this process's students; returns their first observation."""
        self._episode = Episode(self._tasks[task], self._recipe, seeds)
        return self._episode.observation

    def _step(self, actions: Floats) -> tuple[Floats, Transition]:
        """Make one update of this process's students."""
        assert self._episode is not None
        transition = self._episode.step(actions)
        if self._episode.finished:
            known = self._episode.effects
            self._effects = None if known is None else known.of
        return self._episode.observation, transition


def _common(tasks: Sequence[Task]) -> tuple[int, int]:
    """Batch size and number of updates, which all tasks must share, since a rollout is one episode of any of them."""
    sizes = {(task.instances, task.steps) for task in tasks}
    if len(sizes) != 1:
        raise InputError(f"task must be tasks of one batch size and number of updates, got {sorted(sizes)}")
    return sizes.pop()
