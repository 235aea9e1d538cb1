"""One running student as an environment: an episode is an epoch in which the agent learns."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from rltemp.agents.online.rewards import BatchReward
from rltemp.agents.online.settings import Online
from rltemp.agents.online.squash import to_temperature
from rltemp.agents.online.state import STATE, make_state, state_features
from rltemp.distillation.policy_run import Observer
from rltemp.distillation.run import DistillationRun
from rltemp.envs.contract import Floats, StudentVectorEnv, Transition
from rltemp.errors import InputError
from rltemp.temperatures import Temperatures
from rltemp.transfer import to_device

__all__ = ["OnlineEnv"]


class OnlineEnv(StudentVectorEnv):
    """One student in the middle of its run, with one slot per instance of its minibatch.

    An episode is the next epoch of the run: `reset` goes on where the student is, and trains no fresh one. The last
    observation of an episode is the one before it again, since the minibatch after it is the next epoch's, in which
    another may act.

    Args:
        run: a run of one student.
        online: the settings.
        reward: what updates are paid.
        scale: factor on the loss of every instance, > 0; None for T * T.

    Attributes:
        observer: called before every update with the observation and the temperatures; None calls nothing.
    """

    def __init__(self, run: DistillationRun, online: Online, reward: BatchReward, scale: float | None) -> None:
        settings = run.task.optimization
        super().__init__(
            students=1,
            batch_size=settings.batch_size,
            features=STATE,
            horizon=run.task.steps // settings.epochs,
            autoreset_mode=AutoresetMode.DISABLED,
        )
        self.observer: Observer | None = None
        self._run, self._online, self._reward, self._scale = run, online, reward, scale
        self._features = state_features(online)
        self._seen = np.zeros((1, settings.batch_size, STATE), np.float32)

    @torch.inference_mode(False)
    def start_episode(self, task: int) -> Floats:
        """Go on with the next epoch of the run; returns the state of its first minibatch, [1, B, 3] in [0, 1]."""
        self._reward.begin(self._run)
        return self._look()

    @torch.inference_mode(False)
    def advance(self, actions: Floats) -> tuple[Floats, Transition]:
        """Make one update at `actions` [1, B]; returns the next state, [1, B, 3], and the transition."""
        seen = self._seen
        temperature = to_temperature(self._online, torch.from_numpy(actions))
        self.update(temperature)
        paid = np.array([self._reward.pay(self._run)], np.float32)
        following = seen if self._run.step % self.horizon == 0 else self._look()
        return following, Transition(features=seen, temperatures=temperature.numpy(), reward=paid)

    def state(self) -> Floats:
        """State of the next minibatch, [B, 3] in [0, 1], of an epoch in which the agent does not learn."""
        state: Floats = self._look()[0]
        return state

    def update(self, temperature: Tensor) -> None:
        """Make one update of the student at temperatures [1, B], whoever chose them."""
        chosen = to_device(temperature.flatten(), self._run.task.device)
        temperatures = Temperatures.shared(chosen, self._scale)
        self._reward.note(self._run)
        if self.observer is not None:
            self.observer(self._run.observe(), temperatures)
        self._run.update(temperatures)

    def effects(self, actions: Floats) -> Floats:
        """Not known within a run.

        Raises:
            InputError: always.
        """
        raise InputError("effects() needs a whole run as an episode, got an epoch of one")

    def forget(self) -> None:
        """Nothing: no record is kept."""

    def _look(self) -> Floats:
        self._seen = make_state(self._online, self._features, self._run.observe()).cpu().numpy().copy()
        return self._seen
