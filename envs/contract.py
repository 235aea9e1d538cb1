"""The contract of environments of students: what training relies on, and what every such environment shares.

K students of B instances each live in one vector environment with a slot per instance: slots k * B .. k * B + B - 1
belong to student k. An episode is one run of all students, always of `horizon` steps. All slots end together, with
`terminated`: the horizon is finite and progress is observed, so that the end is a state and no truncation.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rltemp.errors import InputError
from rltemp.recipes.schema import Credit

__all__ = ["Flags", "Floats", "Rewards", "StudentVectorEnv", "Transition", "draw_seeds"]

Floats = npt.NDArray[np.float32]
Rewards = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class Transition:
    """One update of K students on B instances each: what was seen and chosen, and what came of it.

    A vector environment of K * B slots tells no more than one number per slot; whoever divides the reward of a batch
    among its instances needs the rest.

    Attributes:
        features: what the policy saw; [K, B, F] float32, in [0, 1].
        temperatures: what it chose; [K, B] float32, > 0.
        reward: reduction of the probe loss by the update, or by several with the last of them (0 with the others);
            [K] float32.
        influence: first-order effect of an instance's own distillation gradient, at its temperature, on the reduction
            of the probe loss; [K, B] float32, larger is better, in units of its own; None where the environment does
            not compute it.

    Raises:
        InputError: for shapes that disagree.
    """

    features: Floats
    temperatures: Floats
    reward: Floats
    influence: Floats | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 3:
            raise InputError(f"features must have shape [K, B, F], got {list(self.features.shape)}")
        slots = self.features.shape[:2]
        for name, array, want in (
            ("temperatures", self.temperatures, slots),
            ("reward", self.reward, slots[:1]),
            ("influence", self.influence, slots),
        ):
            if array is not None and array.shape != want:
                raise InputError(f"{name} must have shape {list(want)}, got {list(array.shape)}")


class StudentVectorEnv(VectorEnv[Floats, Floats, Any], ABC):
    """K students with B instances each: observation Box [F] in [0, 1] and action Box(-1, 1, (1,)) of every slot.

    A sub-class says how an episode starts, what one update does, and what actions did to the end of the last episode;
    this class keeps the rest of the contract. Every slot is paid its student's reward; arrays and infos are new at
    every step. What happens at the end of an episode is the autoreset mode:

        SAME_STEP   the step that ends an episode returns the first observation of the next; what was seen last is in
                    `infos["final_obs"]`, the students' returns in `infos["final_info"]["return"]`
        NEXT_STEP   it returns the last observation, and `infos["return"]`; the next step ignores its actions, pays 0
                    and returns the first observation of the next episode
        DISABLED    likewise, and the next episode starts with `reset`; a step before it is refused

    Args:
        students: K, >= 1.
        batch_size: B, >= 1, instances of a student's minibatch.
        features: F, >= 1, numbers per instance.
        horizon: steps of an episode, >= 1.
        credit_kinds: what its answers are enough for: "influence" where transitions tell it, "hindsight" where
            `effects` answers; "uniform" and "redistribution" ask for neither.
        tasks: how many tasks episodes take turns at, >= 1; `reset(options={"task": index})` chooses one.
        autoreset_mode: see above.

    Attributes:
        students: K.
        batch_size: B.
        features: F.
        horizon: steps of an episode.
        credit_kinds: kinds of credit that its answers are enough for.
        tasks: how many tasks it has.
        autoreset_mode: what happens at the end of an episode.
    """

    def __init__(
        self,
        *,
        students: int,
        batch_size: int,
        features: int,
        horizon: int,
        credit_kinds: Sequence[Credit] = (),
        tasks: int = 1,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        for name, value in (
            ("students", students),
            ("batch_size", batch_size),
            ("features", features),
            ("horizon", horizon),
            ("tasks", tasks),
        ):
            if value < 1:
                raise InputError(f"{name} must be >= 1, got {value}")
        if not isinstance(autoreset_mode, AutoresetMode):
            raise InputError(f"autoreset_mode must be a gymnasium.vector.AutoresetMode, got {autoreset_mode!r}")
        self.students, self.batch_size, self.features = students, batch_size, features
        self.horizon, self.tasks = horizon, tasks
        self.credit_kinds: frozenset[Credit] = frozenset({"uniform", "redistribution", *credit_kinds})
        self.autoreset_mode = autoreset_mode
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.num_envs = students * batch_size
        self.single_observation_space = Box(0.0, 1.0, (features,), np.float32)
        self.single_action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._transition: Transition | None = None
        self._returns = np.zeros(students)
        self._time: int | None = None

    @abstractmethod
    def start_episode(self, task: int) -> Floats:
        """Begin the runs of K fresh students on a task, in [0, tasks); what is random comes from `self.np_random`.

        Returns:
            The first observation, [K, B, F] in [0, 1].
        """

    @abstractmethod
    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        """One update of every student at `actions` [K, B], finite and in [-1, 1].

        Returns:
            The next observation, [K, B, F] in [0, 1], and what the update did.
        """

    @abstractmethod
    def effects(self, actions: Floats) -> Floats:
        """First-order effects of actions on what the last finished episode gained, [horizon, K * B] for the same.

        How much the instance of a slot lowered the loss at the end, had it got this action and all else been as it was.
        Only differences between actions of one instance mean something.

        Raises:
            InputError: if "hindsight" is none of `credit_kinds`, before the end of an episode, after `forget`, or for
                actions of another shape.
        """

    @abstractmethod
    def forget(self) -> None:
        """Let go of what `effects` needs: its answers were used."""

    @property
    def transition(self) -> Transition:
        """What the last step did.

        Raises:
            InputError: before the first step of an episode.
        """
        if self._transition is None:
            raise InputError("transition is what the last step did, and there was none yet: call step()")
        return self._transition

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start the next episode of all slots; `seed` fixes it and all that follow, `options["task"]` names its task.

        Raises:
            InputError: for a closed environment, or a task that does not exist.
        """
        self._refuse_closed()
        super().reset(seed=seed)
        self._transition = None
        return self._start((options or {}).get("task")), {}

    def step(self, actions: Floats) -> tuple[Floats, Rewards, Flags, Flags, dict[str, Any]]:
        """One update of every student at the temperatures that `actions` [K * B, 1] mean.

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
        return np.clip(values, -1.0, 1.0).reshape(self.students, self.batch_size)

    def _start(self, task: int | None = None) -> Floats:
        if task is None:
            task = int(self.np_random.integers(self.tasks)) if self.tasks > 1 else 0
        elif not 0 <= task < self.tasks:
            raise InputError(f'options["task"] must lie in [0, {self.tasks - 1}], got {task}')
        self._time, self._returns = 0, np.zeros(self.students)
        return self._slots(self.start_episode(task))

    def _start_by_step(self) -> tuple[Floats, Rewards, Flags, Flags, dict[str, Any]]:
        """The step after the end of an episode, in the modes in which it does not open the next one itself."""
        if self.autoreset_mode is AutoresetMode.DISABLED:
            raise InputError("the environment must be reset after the end of an episode: its autoreset is disabled")
        self._transition, going_on = None, self._everyone(False)
        return self._start(), np.zeros(self.num_envs), going_on, going_on.copy(), {}

    def _end(self, observation: Floats) -> tuple[Floats, dict[str, Any]]:
        """What the step that ends an episode returns, in Gymnasium's form for each mode."""
        returns = {"return": np.repeat(self._returns, self.batch_size), "_return": self._everyone(True)}
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            return observation, returns
        final = np.empty(self.num_envs, dtype=object)
        for slot, row in enumerate(observation):
            final[slot] = row.copy()  # whoever keeps one row must not keep them all, nor see them change
        masks = {"_final_obs": self._everyone(True), "_final_info": self._everyone(True)}
        return self._start(), {"final_obs": final, "final_info": returns, **masks}

    def _slots(self, values: Floats) -> Floats:
        """[K, B, F] as [K * B, F], in memory of its own."""
        return values.reshape(self.num_envs, -1).copy()

    def _everyone(self, value: bool) -> Flags:
        return np.full(self.num_envs, value)

    def _refuse_closed(self) -> None:
        if self.closed:
            raise InputError("the environment is closed")


def draw_seeds(generator: np.random.Generator, count: int) -> list[int]:
    """Seeds of an episode's students."""
    return [int(seed) for seed in generator.integers(2**31, size=count)]
