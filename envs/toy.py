"""An environment of students with a known optimum, on which agents are tested in seconds."""

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from rltemp.envs.contract import Floats, StudentVectorEnv, Transition
from rltemp.errors import InputError
from rltemp.temperatures import action_to_temperature

__all__ = ["ToyVectorEnv"]


class ToyVectorEnv(StudentVectorEnv):
    """K students of B instances each; the reward of a student is how near its instances' actions are to the best ones.

    An instance has F numbers in [0, 1]: the progress of the episode, and random numbers drawn anew at every step. The
    first random number gives the best action, so that the optimum is known (`best_actions`, with reward 0). The share
    of every instance in its student's reward is known as well (`Transition.influence`, which sums to the reward). Steps
    do not affect each other's rewards, so that `effects` on an episode are the same shares.

    Args:
        students: K, number of students, >= 1.
        batch_size: B, instances of a student's minibatch, >= 1.
        features: F, numbers per instance, >= 2.
        horizon: steps of an episode, >= 1.
        autoreset_mode: what happens at the end of an episode; see `StudentVectorEnv`.

    Raises:
        InputError: for a number that is too small.
    """

    def __init__(
        self,
        students: int = 4,
        batch_size: int = 8,
        features: int = 3,
        horizon: int = 10,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        if features < 2:
            raise InputError(f"features must be >= 2, got {features}")
        super().__init__(
            students=students,
            batch_size=batch_size,
            features=features,
            horizon=horizon,
            credit_kinds=("influence", "hindsight"),
            autoreset_mode=autoreset_mode,
        )
        self._seen = np.zeros((students, batch_size, features), dtype=np.float32)
        self._best: list[Floats] = []
        self._finished: list[Floats] = []

    @staticmethod
    def best_actions(observation: Floats) -> Floats:
        """The actions with reward 0 for observations [..., F]: [...] in [-0.8, 0.8]."""
        return 1.6 * observation[..., 1] - 0.8

    def start_episode(self, task: int) -> Floats:
        """Draw the first instances, [K, B, F] in [0, 1]; there is only one task."""
        self._best = []
        return self._observe()

    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        """Give every student the reward -mean_i (a_i - best_i)^2 for `actions` [K, B], and draw the next instances."""
        best = self.best_actions(self._seen)
        loss = (actions - best) ** 2
        transition = Transition(
            features=self._seen.copy(),
            temperatures=action_to_temperature(torch.from_numpy(actions), 0.5, 32.0).numpy(),
            reward=-loss.mean(axis=1),
            influence=(-loss / self.batch_size).astype(np.float32),
        )
        self._best.append(best)
        if len(self._best) == self.horizon:
            self._finished = self._best
        return self._observe(), transition

    def effects(self, actions: Floats) -> Floats:
        """Shares [horizon, K * B] of `actions` of that shape in the return of the last finished episode.

        Raises:
            InputError: before the end of an episode, or after `forget`.
        """
        if not self._finished:
            raise InputError("effects() needs an episode that came to its end")
        loss = (np.clip(actions, -1.0, 1.0) - np.stack(self._finished).reshape(self.horizon, -1)) ** 2
        return (-loss / self.batch_size).astype(np.float32)

    def forget(self) -> None:
        """Drop the best actions of the last finished episode."""
        self._finished = []

    def _observe(self) -> Floats:
        self._seen = self.np_random.random(self._seen.shape, dtype=np.float32)
        self._seen[..., 0] = len(self._best) / self.horizon
        return self._seen.copy()
