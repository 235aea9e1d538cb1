"""Distillation of one student as a `gymnasium.Env`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from rltemp.distillation.task import Task
from rltemp.envs.contract import Floats, Transition, draw_seeds
from rltemp.envs.credit_memory import check_credit_memory
from rltemp.envs.episode import Episode, make_features
from rltemp.envs.from_recipe import resolve
from rltemp.errors import InputError
from rltemp.recipes import Recipe

__all__ = ["DistillationEnv"]


class DistillationEnv(gymnasium.Env[Floats, Floats]):
    """Distillation of one student; an action holds the temperatures of its whole minibatch.

    Observation Box [B, F] in [0, 1]; action Box [B] in [-1, 1], a log scale of temperatures, or Box [B, A], for a
    recipe whose actions have A numbers (`ActionMap`); reward: decrease of the probe loss, at every
    `agent.reward_every`-th update of the recipe. An episode is one KD run and ends with `terminated`.

    Example:
        >>> import gymnasium, rltemp.envs
        >>> env = gymnasium.make("rltemp/Distillation-v0", optimization={"epochs": 1})
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape
        (32, 23)

    Args:
        recipe: name or file of a recipe, or a `Recipe`; by default "digits-short".
        task: the recipe's task if it is already built, which saves training the teacher again.
        **overrides: values of the recipe, by dotted name or nested.

    Raises:
        InputError: for an unknown recipe or key, a wrong type or value, or credit that would run out of memory.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (the form Gymnasium prescribes)

    def __init__(self, recipe: str | Recipe = "digits-short", *, task: Task | None = None, **overrides: Any) -> None:
        self._recipe, (self._task,) = resolve(recipe, task, overrides)
        updates, images = self._task.steps, len(self._task.training)
        check_credit_memory(self._recipe, self._task, 1, updates=updates, images=images)
        batch, features = self._task.instances, make_features(self._recipe.policy)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (batch, len(features)), np.float32)
        numbers = self._recipe.policy.actions.count
        shape = (batch,) if numbers == 1 else (batch, numbers)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, shape, np.float32)
        self._episode: Episode | None = None
        self._transition: Transition | None = None

    @property
    def transition(self) -> Transition:
        """The transition of the last step, with arrays of K = 1 student.

        Raises:
            InputError: before the first step of an episode.
        """
        if self._transition is None:
            raise InputError("transition is what the last step did, and there was none yet: call step()")
        return self._transition

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start the KD run of a fresh student.

        Args:
            seed: >= 0, fixes this episode and all that follow; None continues the generator.
            options: ignored.

        Returns:
            The first observation, [B, F] in [0, 1], and an empty dict.
        """
        super().reset(seed=seed)
        self._transition = self._episode = None
        self._episode = Episode(self._task, self._recipe, draw_seeds(self.np_random, 1))
        return self._episode.observation[0], {}

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Make one update of the student at the temperatures of `action` [B], or [B, A], in [-1, 1].

        Returns:
            Observation [B, F], reward, whether the run is at its end, False (no truncation), and an empty dict.

        Raises:
            InputError: before `reset`, after the end, or for an action of another shape or not finite.
        """
        if self._episode is None:
            raise InputError("the environment must be reset before its first step")
        self._transition = self._episode.step(np.asarray(action)[None])
        return self._episode.observation[0], float(self._transition.reward[0]), self._episode.finished, False, {}

    def effects(self, actions: Floats) -> Floats:
        """First-order effects of actions on the probe loss at the end of the episode.

        An effect is the decrease of that loss by the instance, if it had got this action and everything else had been
        the same. Only differences between actions of one instance are meaningful.

        Args:
            actions: [horizon, B], or [horizon, B, A], in [-1, 1]; or N such alternatives, [N, ...].

        Returns:
            [horizon, B], or [N, horizon, B]; 0 at updates that are not credited.

        Raises:
            InputError: without the recipe's agent.credit "hindsight", before the end of the episode, or for actions of
                another shape.
        """
        effects = None if self._episode is None else self._episode.effects
        if effects is None:
            raise InputError("effects() needs a recipe with agent.credit 'hindsight' and an episode at its end")
        values = np.asarray(actions)
        instances = -len(self.action_space.shape or ())
        return effects.of(np.expand_dims(values, instances - 1)).squeeze(-2)
