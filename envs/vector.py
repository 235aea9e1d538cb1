"""Distillation of K students as a `VectorEnv` with one slot per instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from rltemp.distillation.task import Task
from rltemp.envs.contract import Floats, StudentVectorEnv, Transition, draw_seeds
from rltemp.envs.episode import Episode, InstanceEffects, make_features
from rltemp.envs.from_recipe import resolve
from rltemp.errors import InputError
from rltemp.recipes import Recipe

__all__ = ["DistillationVectorEnv"]


class DistillationVectorEnv(StudentVectorEnv):
    """K students with B instances each: slots k * B .. k * B + B - 1 belong to student k.

    The agent's network is then a small function of one instance, whatever the batch size, and can be reused anywhere.
    Observation Box [F] in [0, 1], action Box(-1, 1, (1,)); every slot gets its student's reward, the fall of its probe
    loss, at the recipe's cadence (`agent.reward_every`). The recipe's `agent.credit` says what is told of single
    instances: with "influence" their effect on the next loss, in every `transition`; with "hindsight" their effect on
    the last one, by `effects` once an episode is over. All slots end together, with `terminated`; see
    `StudentVectorEnv` for the autoreset modes.

    Args:
        num_envs: K * B, a multiple of the recipe's batch size.
        recipe: name, file or value of a recipe; by default "digits-short".
        task: what the recipe builds, if it is at hand already: spares training the teacher again. Of several, each
            episode plays one: that of `reset(options={"task": index})`, else a random one.
        autoreset_mode: what happens at the end of an episode.
        **overrides: values of the recipe, by dotted name or nested.

    Attributes:
        feature_names: of the columns of an observation.

    Raises:
        InputError: for a `num_envs` that is no multiple of the batch size, or tasks that differ in it or in length.
    """

    def __init__(
        self,
        num_envs: int,
        recipe: str | Recipe = "digits-short",
        *,
        task: Task | Sequence[Task] | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
        **overrides: Any,
    ) -> None:
        self._recipe, self._tasks = resolve(recipe, task, overrides)
        batch_size, horizon = _common(self._tasks)
        students, rest = divmod(num_envs, batch_size)
        if rest or students < 1:
            raise InputError(
                f"num_envs must be a multiple of the batch size {batch_size}, a slot per instance, got {num_envs}"
            )
        self.feature_names = make_features(self._recipe.policy).names
        super().__init__(
            students=students,
            batch_size=batch_size,
            features=len(self.feature_names),
            horizon=horizon,
            credit_kinds=(self._recipe.agent.credit,),
            tasks=len(self._tasks),
            autoreset_mode=autoreset_mode,
        )
        self._episode: Episode | None = None
        self._effects: InstanceEffects | None = None

    def start_episode(self, task: int) -> Floats:
        """The KD runs of K fresh students."""
        self._episode = None  # the last one goes before the next one comes
        self._episode = Episode(self._tasks[task], self._recipe, draw_seeds(self.np_random, self.students))
        return self._episode.observation

    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        """One update of every student."""
        assert self._episode is not None
        transition = self._episode.step(actions)
        if self._episode.finished:
            self._effects = self._episode.effects
        return self._episode.observation, transition

    def effects(self, actions: Floats) -> Floats:
        """First-order effects of actions on what the last finished episode gained; see `StudentVectorEnv.effects`."""
        if self._effects is None:
            raise InputError("effects() needs a recipe with agent.credit 'hindsight' and an episode at its end")
        by_student = np.asarray(actions).reshape(len(actions), self.students, -1)
        return self._effects.of(by_student).reshape(len(actions), -1)

    def forget(self) -> None:
        """Let go of what `effects` needs."""
        self._effects = None


def _common(tasks: Sequence[Task]) -> tuple[int, int]:
    """Batch size and updates, which all tasks must share: a rollout is one episode of whichever comes."""
    sizes = {(task.optimization.batch_size, task.steps) for task in tasks}
    if len(sizes) != 1:
        raise InputError(f"task must be tasks of one batch size and number of updates, got {sorted(sizes)}")
    return sizes.pop()
