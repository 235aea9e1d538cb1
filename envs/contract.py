"""The contract of environments of students, and the part of it that all such environments share.

A vector environment holds K students of B instances each, with one slot per instance: slots k * B to k * B + B - 1
belong to student k. An episode is one run of all students and has exactly `horizon` steps. All slots end together, with
`terminated`: the horizon is finite and progress is observed, so that the end is a terminal state and no truncation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rltemp.envs.transition import Flags, Floats, Transition
from rltemp.errors import InputError
from rltemp.recipes.schema import Credit

__all__ = ["Flags", "Floats", "Rewards", "StudentVectorEnv", "Transition", "draw_seeds"]

Rewards = npt.NDArray[np.float64]


class StudentVectorEnv(VectorEnv[Floats, Floats, Any], ABC):
    """K students with B instances each: observation Box [F] in [0, 1] and action Box(-1, 1, (A,)) of every slot.

    A sub-class defines how an episode starts (`start_episode`), what one update does (`advance`), and the effects of
    actions on the end of the last episode (`effects`, `forget`); this class implements the rest of the contract. Every
    slot gets its student's reward; arrays and infos are new at every step. The autoreset mode decides the end of an
    episode:

        SAME_STEP   the step that ends an episode returns the first observation of the next one; the last observation
                    is in `infos["final_obs"]`, the students' returns are in `infos["final_info"]["return"]`
        NEXT_STEP   the step that ends an episode returns its last observation and `infos["return"]`; the next step
                    ignores its actions, gives reward 0, and returns the first observation of the next episode
        DISABLED    the step that ends an episode returns its last observation and `infos["return"]`; the next episode
                    starts with `reset`, and a step before it is refused

    Args:
        students: K, >= 1.
        batch_size: B, >= 1, instances of a student's minibatch.
        features: F, >= 1, numbers per instance.
        horizon: steps of an episode, >= 1.
        actions: A, >= 1, numbers of an instance's action.
        credit_kinds: kinds of credit the environment supports besides "uniform" and "redistribution": "influence" if
            transitions have an influence, "hindsight" if `effects` is available.
        tasks: number of tasks, >= 1, of which each episode plays one; `reset(options={"task": index})` chooses it.
        autoreset_mode: what happens at the end of an episode.

    Attributes:
        students: K.
        batch_size: B.
        features: F.
        horizon: steps of an episode.
        actions: A.
        credit_kinds: kinds of credit the environment supports.
        tasks: number of tasks.
        autoreset_mode: what happens at the end of an episode.

    Raises:
        InputError: for a number < 1, or another type of autoreset mode.
    """

    def __init__(
        self,
        *,
        students: int,
        batch_size: int,
        features: int,
        horizon: int,
        actions: int = 1,
        credit_kinds: Sequence[Credit] = (),
        tasks: int = 1,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        for name, value in (
            ("students", students),
            ("batch_size", batch_size),
            ("features", features),
            ("horizon", horizon),
            ("actions", actions),
            ("tasks", tasks),
        ):
            if value < 1:
                raise InputError(f"{name} must be >= 1, got {value}")
        if not isinstance(autoreset_mode, AutoresetMode):
            raise InputError(f"autoreset_mode must be a gymnasium.vector.AutoresetMode, got {autoreset_mode!r}")
        self.students, self.batch_size, self.features = students, batch_size, features
        self.horizon, self.actions, self.tasks = horizon, actions, tasks
        self.credit_kinds: frozenset[Credit] = frozenset({"uniform", "redistribution", *credit_kinds})
        self.autoreset_mode = autoreset_mode
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.num_envs = students * batch_size
        self.single_observation_space = Box(0.0, 1.0, (features,), np.float32)
        self.single_action_space = Box(-1.0, 1.0, (actions,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._transition: Transition | None = None
        self._returns = np.zeros(students)
        self._time: int | None = None

    @abstractmethod
    def start_episode(self, task: int) -> Floats:
        """Begin the runs of K fresh students on a task, in [0, tasks), drawing from `self.np_random` alone.

        Returns:
            The first observation, [K, B, F] in [0, 1].
        """

    @abstractmethod
    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        """Make one update of every student at `actions` [K, B], or [K, B, A] for A > 1, finite and in [-1, 1].

        Returns:
            The next observation, [K, B, F] in [0, 1], and the transition of the update.
        """

    @abstractmethod
    def effects(self, actions: Floats) -> Floats:
        """First-order effects of actions on the loss at the end of the last episode.

        An effect is the decrease of that loss by the slot's instance, if it had got this action and everything else had
        been the same. Only differences between actions of one instance are meaningful.

        Args:
            actions: [horizon, K * B], or [horizon, K * B, A] for A > 1, in [-1, 1]; or N such alternatives, [N, ...].

        Returns:
            Effects, [horizon, K * B], or [N, horizon, K * B]; larger is better, and 0 for all actions of a step of
            which nothing is known.

        Raises:
            InputError: if "hindsight" is not in `credit_kinds`, before the end of an episode, after `forget`, or for
                actions of another shape.
        """

    @abstractmethod
    def forget(self) -> None:
        """Free the memory of the last episode that `effects` needs."""

    @property
    def transition(self) -> Transition:
        """The transition of the last step.

        Raises:
            InputError: before the first step of an episode.
        """
        if self._transition is None:
            raise InputError("transition is what the last step did, and there was none yet: call step()")
        return self._transition

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start the next episode of all slots.

        Args:
            seed: >= 0, fixes this episode and all that follow; None continues the generator.
            options: "task" is the index of the episode's task, in [0, tasks); a random one without it.

        Returns:
            The first observation, [K * B, F] in [0, 1], and an empty dict.

        Raises:
            InputError: for a closed environment, or a task that does not exist.
        """
        self._refuse_closed()
        super().reset(seed=seed)
        self._transition = None
        return self._start((options or {}).get("task")), {}

    def step(self, actions: Floats) -> tuple[Floats, Rewards, Flags, Flags, dict[str, Any]]:
        """Make one update of every student at the temperatures of `actions` [K * B, A], clipped to [-1, 1].

        Returns:
            Observation [K * B, F]; rewards, terminations, and truncations, each [K * B]; and infos, empty before the
            end.

        Raises:
            InputError: for a closed environment, before `reset`, or for actions of another shape or not finite.
        """
        self._refuse_closed()
        chosen = self._checked(actions)
        if self._time is None:
            raise InputError("the environment must be reset before its first step")
        if self._time == self.horizon:
            return self._start_by_step()
        seen, self._transition = self.advance(chosen)
        self._time += 1
        self._returns += self._transition.reward
        observation = self._slots(seen)
        infos: dict[str, Any] = {}
        ended = self._time == self.horizon
        if ended:
            observation, infos = self._end(observation)
        rewards = np.repeat(self._transition.reward, self.batch_size).astype(np.float64)
        return observation, rewards, self._everyone(ended), self._everyone(False), infos

    def _checked(self, actions: Floats) -> Floats:
        values = np.array(actions, dtype=np.float32)
        if values.shape != self.action_space.shape or not np.isfinite(values).all():
            want = list(self.action_space.shape or ())
            raise InputError(f"actions must be finite and have shape {want}, got {list(values.shape)}")
        return np.clip(values, -1.0, 1.0).reshape(
            self.students, self.batch_size, *((self.actions,) if self.actions > 1 else ())
        )

    def _start(self, task: int | None = None) -> Floats:
        if task is None:
            task = int(self.np_random.integers(self.tasks)) if self.tasks > 1 else 0
        elif not 0 <= task < self.tasks:
            raise InputError(f'options["task"] must lie in [0, {self.tasks - 1}], got {task}')
        self._time, self._returns = 0, np.zeros(self.students)
        return self._slots(self.start_episode(task))

    def _start_by_step(self) -> tuple[Floats, Rewards, Flags, Flags, dict[str, Any]]:
        """The step after the end of an episode, in the modes NEXT_STEP and DISABLED."""
        if self.autoreset_mode is AutoresetMode.DISABLED:
            raise InputError("the environment must be reset after the end of an episode: its autoreset is disabled")
        self._transition, going_on = None, self._everyone(False)
        return self._start(), np.zeros(self.num_envs), going_on, going_on.copy(), {}

    def _end(self, observation: Floats) -> tuple[Floats, dict[str, Any]]:
        """Observation and infos of the step that ends an episode, in Gymnasium's form for each autoreset mode."""
        returns = {"return": np.repeat(self._returns, self.batch_size), "_return": self._everyone(True)}
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            return observation, returns
        final = np.empty(self.num_envs, dtype=object)
        for slot, row in enumerate(observation):
            final[slot] = row.copy()  # a view of one row would keep the whole array alive
        masks = {"_final_obs": self._everyone(True), "_final_info": self._everyone(True)}
        return self._start(), {"final_obs": final, "final_info": returns, **masks}

    def _slots(self, values: Floats) -> Floats:
        """Reshape observations [K, B, F] to [K * B, F], in new memory."""
        return values.reshape(self.num_envs, -1).copy()

    def _everyone(self, value: bool) -> Flags:
        return np.full(self.num_envs, value)

    def _refuse_closed(self) -> None:
        if self.closed:
            raise InputError("the environment is closed")


def draw_seeds(generator: np.random.Generator, count: int, twins: bool = False) -> list[int]:
    """Draw `count` seeds of students, each in [0, 2**31), for one episode; of `twins`, two neighbours share one."""
    seeds = generator.integers(2**31, size=count // 2 if twins else count)
    return [int(seed) for seed in (np.repeat(seeds, 2) if twins else seeds)]
