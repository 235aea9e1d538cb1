"""Learning without exploration and without RL: what an agent is credited for in hindsight, descended directly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rltemp.agents.credit.hindsight import ROWS, squeezed
from rltemp.agents.direct import DirectLearner
from rltemp.checks import unchecked
from rltemp.envs.contract import Floats, StudentVectorEnv
from rltemp.errors import InputError
from rltemp.progress import Progress
from rltemp.recipes.schema import Agent

__all__ = ["Descent"]

_APART = 0.05
"""How far from an action its two neighbours are whose effects give the slope, of a range of 2."""

_FARTHEST = 10.0
"""Largest slope, in root mean squares of its student's run."""


class Descent(DirectLearner):
    """Gradient descent on credit in hindsight (this project's control of `HindsightPPO`).

    Every student acts by the same policy, without noise. When an episode is over, an instance's effect on the end of
    the run is known for any action; how it changes with the action that was taken, in root mean squares of its student,
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

    def _learn(self, progress: Progress) -> dict[str, float]:
        observations: list[Tensor] = []
        actions: list[Tensor] = []

        def act(seen: Tensor) -> Tensor:
            observations.append(seen.clone())
            actions.append(self._act(seen[None], self._weights[None])[0])
            return actions[-1]

        record, before = self._play(act, progress), self._weights
        slopes = self._slopes(torch.stack(actions).numpy())
        self._env.forget()
        self._descend(torch.cat(observations), slopes)
        return {**record.metrics(), "step": float((self._weights - before).square().mean().sqrt())}

    def _slopes(self, actions: Floats) -> Tensor:
        """How the effects of actions [steps, slots, A] change with each of their numbers, [steps * slots, A]."""
        moves = _APART * np.eye(actions.shape[-1], dtype=np.float32)
        neighbours = [np.clip(actions + sign * move, -1.0, 1.0) for move in moves for sign in (1.0, -1.0)]
        # In one call: each may cost a way back through the whole run.
        with unchecked():  # of students that are lost
            effects = self._env.effects(squeezed(np.stack(neighbours)))
        slopes = np.moveaxis(effects[0::2] - effects[1::2], 0, -1).reshape(len(actions), self.agent.students, -1)
        # Students of a task that is hard to move count like others, and one whose run is chaotic does not drown them.
        size = np.sqrt(np.square(slopes).mean(axis=(0, 2), keepdims=True))
        slopes = np.clip(slopes / (size + 1e-30), -_FARTHEST, _FARTHEST).astype(np.float32)
        return torch.from_numpy(slopes.reshape(-1, len(moves)))

    def _descend(self, observations: Tensor, slopes: Tensor) -> None:
        weights = self._weights.clone().requires_grad_()
        adam = torch.optim.Adam([weights], lr=self._rate())
        if self._moments is not None:
            adam.load_state_dict({**adam.state_dict(), "state": self._moments})
        # In parts, since a long run's layers would not fit.
        for seen, wanted in zip(observations.split(ROWS), slopes.split(ROWS), strict=True):
            loss = -(self._act(seen[None], weights[None])[0] * wanted).sum() / len(observations)
            loss.backward()
        adam.step()
        self._weights, self._moments = weights.detach(), adam.state_dict()["state"]
