"""An environment of students with a known optimum: what is built on the contract is tested in seconds."""

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from rltemp.envs.contract import Floats, StudentVectorEnv, Transition
from rltemp.errors import InputError
from rltemp.temperatures import action_to_temperature

__all__ = ["ToyVectorEnv"]


class ToyVectorEnv(StudentVectorEnv):
    """K students of B instances each; every student is paid for how near its instances' actions are to their targets.

    An instance is F numbers in [0, 1]: the progress of the episode, then random ones, drawn anew at every step. The
    first random number names the best action, so the optimum is known (`best_actions`, with reward 0), and so is the
    share of every instance in its student's reward (`Transition.influence`, which sums to the reward); no step
    changes what another earns, so `effects` on an episode are the same.

    Args:
        students: K, number of students.
        batch_size: B, instances of a student's minibatch.
        features: F, numbers per instance, at least 2.
        horizon: steps of an episode.
        autoreset_mode: what happens at the end of an episode; see `StudentVectorEnv`.
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
        """The actions with reward 0: [..., F] -> [...]."""
        return 1.6 * observation[..., 1] - 0.8

    def start_episode(self, task: int) -> Floats:
        """Fresh instances."""
        self._best = []
        return self._observe()

    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        """Pay every student -mean_i (a_i - best_i)^2."""
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
        """Effects of actions [horizon, K * B] on the return of the last finished episode, had they been taken."""
        if not self._finished:
            raise InputError("effects() needs an episode that came to its end")
        loss = (np.clip(actions, -1.0, 1.0) - np.stack(self._finished).reshape(self.horizon, -1)) ** 2
        return (-loss / self.batch_size).astype(np.float32)

    def forget(self) -> None:
        """Let go of the last episode's optimum."""
        self._finished = []

    def _observe(self) -> Floats:
        self._seen = self.np_random.random(self._seen.shape, dtype=np.float32)
        self._seen[..., 0] = len(self._best) / self.horizon
        return self._seen.copy()
