"""Distillation of one student as a plain `gymnasium.Env`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rltemp.distillation.task import Task
from rltemp.envs.episode import DistillationProcess
from rltemp.envs.from_recipe import draw_seeds, resolve
from rltemp.envs.transition import LastTransition
from rltemp.recipes import Recipe

__all__ = ["DistillationEnv"]

Floats = npt.NDArray[np.float32]


class DistillationEnv(LastTransition, gymnasium.Env[Floats, Floats]):
    """One student; the action holds the temperatures of its whole minibatch.

    Observation Box [B, F] in [0, 1], action Box [B] in [-1, 1], reward: the fall of the probe loss. An episode is one
    KD run and ends with `terminated`.

    Example:
        >>> import gymnasium, rltemp.envs
        >>> env = gymnasium.make("rltemp/Distillation-v0", optimization={"epochs": 1})
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape
        (32, 18)

    Args:
        recipe: name, file or value of a recipe; by default "digits-short".
        task: what the recipe builds, if it is at hand already: spares training the teacher again.
        **overrides: values of the recipe, by dotted name or nested.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, recipe: str | Recipe = "digits-short", *, task: Task | None = None, **overrides: Any) -> None:
        setting, (task,) = resolve(recipe, task, overrides)
        self._process = DistillationProcess(task, setting.policy)
        batch = task.optimization.batch_size
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (batch, len(self._process.features)), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (batch,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start the KD run of a fresh student; `seed` fixes this one and all that follow."""
        super().reset(seed=seed)
        self._transition = None
        return self._process.reset(draw_seeds(self.np_random, 1))[0], {}

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """One update of the student at the temperatures that `action` [B] means."""
        observation, self._transition, ended = self._process.step(np.asarray(action)[None])
        return observation[0], float(self._transition.reward[0]), ended, False, {}
