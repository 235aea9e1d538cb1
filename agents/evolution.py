"""Learning without gradients and without credit: every student of a rollout tries a policy of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltemp.agents.direct import DirectLearner, normal
from rltemp.agents.forfeit import forfeits
from rltemp.agents.whitening import FeatureMoments
from rltemp.envs.contract import StudentVectorEnv
from rltemp.errors import InputError
from rltemp.progress import Progress
from rltemp.recipes.schema import Agent

__all__ = ["Evolution"]

_MEMORY, _SLOW_MEMORY = 0.98, 0.99
"""Adam's moments, over rollouts: about as many as there are kinds of tasks, so that a step is not one task's alone."""

_FARTHEST = 3.0
"""Largest difference of a pair, in root mean squares of its rollout, so that one diverged student does not decide."""


class Evolution(DirectLearner):
    """Evolution strategies over the weights of a policy (Salimans et al. 2017, arXiv 1703.03864, algorithm 2).

    Students 2j and 2j + 1 of a rollout act by weights w + s e_j and w - s e_j, with e_j normal in whitened features
    (`FeatureMoments`). The difference of their returns, over the root of its size in the rollout, weighs e_j: a task in
    which much can be gained counts for more, and does not drown the others. Adam takes the step. The noise is shared by
    all instances and updates of a student, and the whole run pays for it: nothing has to be known of single instances,
    and no gradient passes through a run.

    Args:
        env: K students of B instances, with autoreset disabled. With equal students in a pair (`twins` of
            `DistillationVectorEnv`), their difference is that of the weights alone.
        agent: the settings.

    Raises:
        InputError: for an odd number of students, or another than `agent` says.
    """

    def __init__(self, env: StudentVectorEnv, agent: Agent) -> None:
        super().__init__(env, agent)
        if agent.students % 2:
            raise InputError(f"agent.students must be an even number, got {agent.students}")
        self._unit = torch.cat(
            [torch.full((outputs * (inputs + 1),), 1.0 / math.sqrt(inputs)) for (outputs, inputs), _ in self._shapes]
        )
        self._moments = torch.zeros(2, len(self._weights))
        self._met = FeatureMoments(env.features)

    def _learn(self, progress: Progress) -> dict[str, float]:
        number, students = len(self.history), self.agent.students
        noise = normal(self._generator("noise", number), (students // 2, len(self._weights)))
        std = math.exp(self.agent.log_std_init) * self._unit
        basis, ((outputs, _), _) = self._met.basis(), self._shapes[0]
        away = basis.weights(std * noise, outputs)
        tried = torch.stack((self._weights + away, self._weights - away), dim=1).flatten(0, 1)

        def act(seen: Tensor) -> Tensor:
            self._met.note(seen, self.steps)
            return self._act(seen.unflatten(0, (students, -1)), tried).flatten(0, 1)

        record = self._play(act, progress)
        step = self._step(noise, record.returns - forfeits(record.returns, record.lost))
        self._weights = self._weights + basis.weights((std * step)[None], outputs)[0]
        size = float(step.square().mean().sqrt())
        return {**record.metrics(), "std": math.exp(self.agent.log_std_init), "step": size}

    def state_dict(self) -> dict[str, Any]:
        """As of `DirectLearner`, and what features were met."""
        return {**super().state_dict(), "met": self._met.sums.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As of `DirectLearner`."""
        super().load_state_dict(state)
        self._met.sums = state["met"].clone()

    def _step(self, noise: Tensor, returns: np.ndarray) -> Tensor:
        """Adam's step [D], in standard deviations of the noise."""
        paid = torch.from_numpy(returns).float()
        difference = paid[0::2] - paid[1::2]
        size = difference.square().mean().sqrt()
        if size > 0.0:
            difference = difference.clamp(-_FARTHEST * size, _FARTHEST * size) / size.sqrt()
        gradient = difference @ noise / len(noise)
        first, second = self._moments
        self._moments = torch.stack(
            (first.lerp(gradient, 1.0 - _MEMORY), second.lerp(gradient.square(), 1.0 - _SLOW_MEMORY))
        )
        count = len(self.history) + 1
        mean = self._moments[0] / (1.0 - _MEMORY**count)
        deviation = (self._moments[1] / (1.0 - _SLOW_MEMORY**count)).sqrt()
        step: Tensor = self._rate() * mean / (deviation + 1e-8)
        return step
