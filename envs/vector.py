"""Distillation of K students as a `VectorEnv` with one slot per instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rltemp.distillation.task import Task
from rltemp.envs.episode import Credit, DistillationProcess
from rltemp.envs.from_recipe import draw_seeds, resolve
from rltemp.envs.infos import final_infos
from rltemp.envs.transition import LastTransition
from rltemp.errors import InputError
from rltemp.recipes import Recipe

__all__ = ["DistillationVectorEnv"]

Floats = npt.NDArray[np.float32]
Rewards = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class DistillationVectorEnv(LastTransition, VectorEnv[Any, Any, Any]):
    """K students with B instances each: slots k * B .. k * B + B - 1 belong to student k.

    The agent's network is then a small function of one instance, whatever the batch size, and can be reused anywhere.
    Observation Box [F] in [0, 1], action Box(-1, 1, (1,)); every slot gets its student's reward, the fall of its probe
    loss. All slots end together, with `terminated`, and the same step starts the next episode (SAME_STEP).

    Args:
        num_envs: K * B, a multiple of the recipe's batch size.
        recipe: name, file or value of a recipe; by default "digits-short".
        task: what the recipe builds, if it is at hand already: spares training the teacher again. Of several, each
            episode plays one: that of `reset(options={"task": index})`, else a random one.
        credit: what it tells of single instances: "influence", their effect on the next loss, in every `transition`;
            "hindsight", their effect on the last one, by `effects` once an episode is over; or "none".
        **overrides: values of the recipe, by dotted name or nested.

    Attributes:
        students: K.
        batch_size: B.
        horizon: updates of an episode.
        tasks: how many there are.
        credit: what it tells of single instances.

    Raises:
        InputError: for a `num_envs` that is no multiple of the batch size, or tasks that differ in it or in length.
    """

    def __init__(
        self,
        num_envs: int,
        recipe: str | Recipe = "digits-short",
        *,
        task: Task | Sequence[Task] | None = None,
        credit: Credit = "influence",
        **overrides: Any,
    ) -> None:
        setting, tasks = resolve(recipe, task, overrides)
        self.tasks = len(tasks)
        self.batch_size, self.horizon = _common(tasks)
        self.students, rest = divmod(num_envs, self.batch_size)
        if rest or self.students < 1:
            raise InputError(
                f"num_envs must be a multiple of the batch size {self.batch_size}, a slot per instance, got {num_envs}"
            )
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.credit: Credit = credit
        self._processes = [
            DistillationProcess(task, setting.policy, credit, reward_every=setting.agent.reward_every) for task in tasks
        ]
        self._process = self._finished = self._processes[0]
        self.feature_names = self._process.features.names
        self.single_observation_space = gymnasium.spaces.Box(0.0, 1.0, (len(self.feature_names),), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._returns = np.zeros(self.students)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start the KD runs of K fresh students; `seed` fixes these and all that follow."""
        self._refuse_closed()
        super().reset(seed=seed)
        self._transition = None
        return self._start((options or {}).get("task")), {}

    def step(self, actions: Floats) -> tuple[Floats, Rewards, Flags, Flags, dict[str, Any]]:
        """One update of every student at the temperatures that `actions` [K * B, 1] mean."""
        self._refuse_closed()
        actions = np.asarray(actions, dtype=np.float32)
        if actions.shape != self.action_space.shape:
            raise InputError(
                f"actions must have shape {list(self.action_space.shape or ())}, got {list(actions.shape)}"
            )
        seen, self._transition, ended = self._process.step(actions.reshape(self.students, self.batch_size))
        observation = seen.reshape(self.num_envs, -1)
        self._returns += self._transition.reward
        infos: dict[str, Any] = {}
        if ended:
            self._finished = self._process
            infos = final_infos(observation, self._returns)
            observation = self._start()
        rewards = np.repeat(self._transition.reward, self.batch_size).astype(np.float64)
        return observation, rewards, np.full(self.num_envs, ended), np.zeros(self.num_envs, dtype=bool), infos

    def effects(self, actions: Floats) -> Floats:
        """First-order effects of actions on what the last finished episode gained, [horizon, K * B] for the same.

        How much the instance of a slot lowered the loss at the end, had it got this action and all else been as it was.
        Only differences between actions of one instance mean something.

        Raises:
            InputError: without credit="hindsight", before the end of an episode, or for actions of another shape.
        """
        by_student = np.asarray(actions).reshape(len(actions), self.students, -1)
        return self._finished.effects(by_student).reshape(len(actions), -1)

    def _start(self, task: int | None = None) -> Floats:
        if task is None:
            task = int(self.np_random.integers(self.tasks)) if self.tasks > 1 else 0
        elif not 0 <= task < self.tasks:
            raise InputError(f'options["task"] must lie in [0, {self.tasks - 1}], got {task}')
        self._process = self._processes[task]
        self._returns = np.zeros(self.students)
        return self._process.reset(draw_seeds(self.np_random, self.students)).reshape(self.num_envs, -1)

    def _refuse_closed(self) -> None:
        if self.closed:
            raise InputError("the environment is closed")


def _common(tasks: Sequence[Task]) -> tuple[int, int]:
    """Batch size and updates, which all tasks must share: a rollout is one episode of whichever comes."""
    sizes = {(task.optimization.batch_size, task.steps) for task in tasks}
    if len(sizes) != 1:
        raise InputError(f"task must be tasks of one batch size and number of updates, got {sorted(sizes)}")
    return sizes.pop()
