"""Learning without exploration and without RL: what an agent is credited for in hindsight, descended directly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rltemp.agents.credit.hindsight import hindsight_advantages
from rltemp.agents.direct import DirectLearner
from rltemp.agents.learner import episode_seed
from rltemp.agents.metrics import RolloutRecord
from rltemp.checks import unchecked
from rltemp.envs.contract import StudentVectorEnv
from rltemp.errors import InputError
from rltemp.progress import NoProgress, Progress
from rltemp.recipes.schema import Agent

__all__ = ["Descent"]

Floats = npt.NDArray[np.floating]

_APART = 0.05
"""How far from an action its two neighbours are whose effects give the slope, of a range of 2."""

_ROWS = 1 << 18
"""Observations that go through the policy at once."""


class Descent(DirectLearner):
    """Gradient descent on credit in hindsight (this project's control of `HindsightPPO`).

    Every student acts by the same policy, without noise. When an episode is over, an instance's effect on the end of
    the run is known for any action; how it changes with the action that was taken, in root mean squares of its step,
    goes back through the policy to its weights, and Adam takes the step. The credit is that of `HindsightPPO`; nothing
    is tried out, and returns pay nothing.

    Args:
        env: K students of B instances that are credited in hindsight, with autoreset disabled.
        agent: the settings.

    Raises:
        InputError: for another number of students than `agent` says, or an environment without credit in hindsight.
    """

    def __init__(self, env: StudentVectorEnv, agent: Agent) -> None:
        super().__init__(env, agent)
        if "hindsight" not in env.credit_kinds:
            raise InputError(f"env must credit in hindsight, got {', '.join(sorted(env.credit_kinds))}")

    def rollout(self, progress: Progress | None = None) -> dict[str, float]:
        """Play one episode with every student, move the weights, and return the rollout's metrics.

        Args:
            progress: advances with every step of the environment.

        Raises:
            DivergenceError: for weights that are not finite, or where no student is left; `history` then has no entry
                for this rollout.
        """
        record, observations, actions = self._play(progress or NoProgress())
        slopes = self._slopes(actions)
        self._env.forget()
        before = self._weights
        self._descend(observations, slopes)
        if not bool(self._weights.isfinite().all()):
            raise self._diverged()
        size = float((self._weights - before).square().mean().sqrt())
        return self._note({**record.metrics(), "step": size}, self._env.tasks)

    def _play(self, progress: Progress) -> tuple[RolloutRecord, Tensor, Floats]:
        """One episode: its observations [steps * slots, F], and its actions [steps, slots, A]."""
        env, record = self._env, RolloutRecord()
        observations, actions = [], []
        with torch.no_grad(), unchecked():
            observation, _ = env.reset(seed=episode_seed(self.agent.seed, len(self.history)), options=self._options())
            for _ in range(env.horizon):
                observations.append(torch.from_numpy(observation.copy()))
                actions.append(self._act(observations[-1][None], self._weights[None])[0].numpy())
                observation, *_ = env.step(actions[-1])
                record.note(env.transition)
                progress.advance()
        return record, torch.cat(observations), np.stack(actions)

    def _slopes(self, actions: Floats) -> Tensor:
        """How the effects of actions [steps, slots, A] change with each of their numbers, [steps * slots, A]."""
        moves = _APART * np.eye(actions.shape[-1], dtype=np.float32)
        neighbours = [np.clip(actions + sign * move, -1.0, 1.0) for move in moves for sign in (1.0, -1.0)]
        # In one call: each may cost a way back through the whole run.
        effects = self._env.effects(np.stack(neighbours)[..., 0] if len(moves) == 1 else np.stack(neighbours))
        slopes = [hindsight_advantages(more, less) for more, less in zip(effects[0::2], effects[1::2], strict=True)]
        return torch.from_numpy(np.stack(slopes, axis=-1).reshape(-1, len(moves)))

    def _descend(self, observations: Tensor, slopes: Tensor) -> None:
        weights = self._weights.clone().requires_grad_()
        adam = torch.optim.Adam([weights], lr=self._rate())
        if self._moments is not None:
            adam.load_state_dict({**adam.state_dict(), "state": self._moments})
        for seen, wanted in _parts(observations, slopes):
            loss = -(self._act(seen[None], weights[None])[0] * wanted).sum() / len(observations)
            loss.backward()
        adam.step()
        self._weights, self._moments = weights.detach(), adam.state_dict()["state"]


def _parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Rows of all tensors, `_ROWS` at once, since a long run's layers would not fit."""
    return zip(*(tensor.split(_ROWS) for tensor in tensors), strict=True)
