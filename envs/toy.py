"""A vector environment shaped like distillation, with a known optimum: what is built on it is tested in seconds."""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rltemp.envs.infos import final_infos
from rltemp.envs.transition import LastTransition, Transition
from rltemp.errors import InputError
from rltemp.temperatures import action_to_temperature

__all__ = ["ToyVectorEnv"]

Floats = npt.NDArray[np.float32]


class ToyVectorEnv(LastTransition, VectorEnv[Any, Any, Any]):
    """K students of B instances each; every student is paid for how near its instances' actions are to their targets.

    An instance is F numbers in [0, 1]: the progress of the episode, then random ones, drawn anew at every step. The
    first random number names the best action, so the optimum is known (`best_actions`, with reward 0), and so is the
    share of every instance in its student's reward (`Transition.influence`, which sums to the reward); no step
    changes what another earns, so `effects` on an episode are the same.

    Slots k * B .. k * B + B - 1 belong to student k. All slots end together, with `terminated`, after `horizon` steps.

    Args:
        students: K, number of students.
        batch_size: B, instances of a student's minibatch.
        features: F, numbers per instance, at least 2.
        horizon: steps of an episode.
    """

    def __init__(self, students: int = 4, batch_size: int = 8, features: int = 3, horizon: int = 10) -> None:
        for name, value, least in (
            ("students", students, 1),
            ("batch_size", batch_size, 1),
            ("features", features, 2),
            ("horizon", horizon, 1),
        ):
            if value < least:
                raise InputError(f"{name} must be at least {least}, got {value}")
        self.students, self.batch_size, self.horizon = students, batch_size, horizon
        self.num_envs = students * batch_size
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(0.0, 1.0, (features,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._observation: Floats | None = None
        self._returns = np.zeros(students)
        self._time = 0
        self._best: list[Floats] = []
        self._played: list[Floats] = []

    @staticmethod
    def best_actions(observation: Floats) -> Floats:
        """The actions with reward 0: [..., F] -> [...]."""
        return 1.6 * observation[..., 1] - 0.8

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start new episodes in all slots; a seed fixes all that follows."""
        self._refuse_closed()
        super().reset(seed=seed)
        self._transition = None
        return self._start_episode(), {}

    def step(self, actions: Any) -> tuple[Floats, Any, Any, Any, dict[str, Any]]:
        """Pay every student -mean_i (a_i - best_i)^2; the end of an episode is also the start of the next."""
        self._refuse_closed()
        if self._observation is None:
            raise InputError("the environment must be reset before its first step")
        actions = np.array(actions, dtype=np.float32)
        if actions.shape != self.action_space.shape or not np.isfinite(actions).all():
            want = list(self.action_space.shape or ())
            raise InputError(f"actions must be finite and have shape {want}, got {list(actions.shape)}")
        self._transition = self._judge(self._observation, np.clip(actions, -1.0, 1.0))
        self._returns += self._transition.reward
        self._best.append(self.best_actions(self._observation))
        self._time += 1
        ended = self._time == self.horizon
        infos: dict[str, Any] = {}
        observation = self._observe()
        if ended:
            self._played = self._best
            infos = final_infos(observation, self._returns)
            observation = self._start_episode()
        rewards = np.repeat(self._transition.reward, self.batch_size).astype(np.float64)
        return observation, rewards, np.full(self.num_envs, ended), np.zeros(self.num_envs, dtype=bool), infos

    def effects(self, actions: Floats) -> Floats:
        """Effects of actions [horizon, K * B] on the return of the last finished episode, had they been taken."""
        if not self._played:
            raise InputError("effects() needs an episode that came to its end")
        loss = (np.clip(actions, -1.0, 1.0) - np.stack(self._played)) ** 2
        return (-loss / self.batch_size).astype(np.float32)

    def _judge(self, observation: Floats, actions: Floats) -> Transition:
        shape = (self.students, self.batch_size)
        loss = ((actions[:, 0] - self.best_actions(observation)) ** 2).reshape(shape)
        temperatures = action_to_temperature(torch.from_numpy(actions[:, 0]), 0.5, 32.0).numpy()
        return Transition(
            features=observation.reshape(*shape, -1).copy(),
            temperatures=temperatures.reshape(shape),
            influence=(-loss / self.batch_size).astype(np.float32),
            reward=-loss.mean(axis=1),
        )

    def _start_episode(self) -> Floats:
        self._time, self._best = 0, []
        self._returns = np.zeros(self.students)
        return self._observe()

    def _observe(self) -> Floats:
        shape = self.observation_space.shape
        self._observation = self.np_random.random(shape, dtype=np.float32)
        self._observation[:, 0] = self._time / self.horizon
        return self._observation.copy()

    def _refuse_closed(self) -> None:
        if self.closed:
            raise InputError("the environment is closed")
