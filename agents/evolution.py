"""Learning without gradients and without credit: every student of a rollout tries a policy of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltemp.agents.forfeit import forfeits
from rltemp.agents.learner import Learner, episode_seed
from rltemp.agents.metrics import RolloutRecord
from rltemp.checks import unchecked
from rltemp.envs.contract import StudentVectorEnv
from rltemp.errors import InputError
from rltemp.features import LogitFeatures, center
from rltemp.policies.learned import LearnedPolicy
from rltemp.progress import NoProgress, Progress
from rltemp.recipes.schema import Agent, PolicySpace

__all__ = ["Evolution"]

_MEMORY, _SLOW_MEMORY = 0.98, 0.99
"""Adam's moments, over rollouts: about as many as there are kinds of tasks, so that a step is not one task's alone."""

_FARTHEST = 3.0
"""Largest difference of a pair, in root mean squares of its rollout, so that one diverged student does not decide."""


class Evolution(Learner):
    """Evolution strategies over the weights of a policy (Salimans et al. 2017, arXiv 1703.03864, algorithm 2).

    Students 2j and 2j + 1 of a rollout act by weights w + s e_j and w - s e_j, with normal e_j. The difference of their
    returns, in root mean squares of the rollout so that every task counts alike, weighs e_j; Adam takes the step. The
    noise is shared by all instances and updates of a student, and the whole run pays for it: nothing has to be known of
    single instances, and no gradient passes through a run.

    The learning rate is constant in the first half of the rollouts and falls to 0 in the second. A policy's action is
    the tanh of its last layer, which starts at 0: at the middle of every range.

    Args:
        env: K students of B instances, with autoreset disabled. With equal students in a pair (`twins` of
            `DistillationVectorEnv`), their difference is that of the weights alone.
        agent: the settings.

    Raises:
        InputError: for an odd number of students, or another than `agent` says.
    """

    def __init__(self, env: StudentVectorEnv, agent: Agent) -> None:
        super().__init__(agent)
        if env.students != agent.students or agent.students % 2:
            raise InputError(
                f"env must hold agent.students = {agent.students} students, an even number, got {env.students}"
            )
        self._env = env
        widths = (env.features, *agent.hidden, env.actions)
        self._shapes = [((outputs, inputs), (outputs,)) for inputs, outputs in itertools.pairwise(widths)]
        generator = self._generator("start")
        layers = [_normal(generator, (outputs, inputs)) / math.sqrt(inputs) for (outputs, inputs), _ in self._shapes]
        layers[-1].zero_()
        self._weights = torch.cat([torch.cat((layer.flatten(), layer.new_zeros(len(layer)))) for layer in layers])
        self._unit = torch.cat(
            [torch.full((outputs * (inputs + 1),), 1.0 / math.sqrt(inputs)) for (outputs, inputs), _ in self._shapes]
        )
        self._moments = torch.zeros(2, len(self._weights))

    @property
    def steps(self) -> int:
        """Steps of the environment in a rollout."""
        return self._env.horizon

    def rollout(self, progress: Progress | None = None) -> dict[str, float]:
        """Play one episode with every student, move the weights, and return the rollout's metrics.

        Args:
            progress: advances with every step of the environment.

        Raises:
            DivergenceError: for weights that are not finite, or where no student is left; `history` then has no entry
                for this rollout.
        """
        number, students = len(self.history), self.agent.students
        noise = _normal(self._generator("noise", number), (students // 2, len(self._weights)))
        std = math.exp(self.agent.log_std_init) * self._unit
        tried = torch.stack((self._weights + std * noise, self._weights - std * noise), dim=1).flatten(0, 1)
        record = self._play(tried, progress or NoProgress())
        step = self._step(noise, record.returns - forfeits(record.returns, record.lost))
        self._weights = self._weights + std * step
        if not bool(self._weights.isfinite().all()):
            raise self._diverged()
        size = float(step.square().mean().sqrt())
        metrics = {**record.metrics(), "std": math.exp(self.agent.log_std_init), "step": size}
        return self._note(metrics, self._env.tasks)

    def _play(self, weights: Tensor, progress: Progress) -> RolloutRecord:
        """One episode in which each student acts by its own weights [K, D]."""
        number, env, record = len(self.history), self._env, RolloutRecord()
        layers = self._layers(weights)
        options = {"task": self._task(number)} if env.tasks > 1 else None
        with torch.no_grad(), unchecked():
            observation, _ = env.reset(seed=episode_seed(self.agent.seed, number), options=options)
            for _ in range(env.horizon):
                values = center(torch.from_numpy(observation)).view(env.students, env.batch_size, -1)
                for weight, bias in layers:  # behind the last one, tanh squashes the action
                    values = torch.tanh(torch.baddbmm(bias.unsqueeze(1), values, weight.transpose(1, 2)))
                observation, *_ = env.step(values.flatten(0, 1).numpy())
                record.note(env.transition)
                progress.advance()
        return record

    def _task(self, number: int) -> int:
        """All tasks in each pass, in an order of its own, so that none follows always upon the same other."""
        passed, place = divmod(number, self._env.tasks)
        return int(self._generator("tasks", passed).permutation(self._env.tasks)[place])

    def _step(self, noise: Tensor, returns: np.ndarray) -> Tensor:
        """Adam's step [D], in standard deviations of the noise."""
        paid = torch.from_numpy(returns).float()
        difference = paid[0::2] - paid[1::2]
        size = difference.square().mean().sqrt()
        if size > 0.0:
            difference = (difference / size).clamp(-_FARTHEST, _FARTHEST)
        gradient = difference @ noise / len(noise)
        first, second = self._moments
        self._moments = torch.stack(
            (first.lerp(gradient, 1.0 - _MEMORY), second.lerp(gradient.square(), 1.0 - _SLOW_MEMORY))
        )
        count, whole = len(self.history) + 1, self.agent.rollouts
        mean = self._moments[0] / (1.0 - _MEMORY**count)
        deviation = (self._moments[1] / (1.0 - _SLOW_MEMORY**count)).sqrt()
        rate = self.agent.learning_rate * min(1.0, 2.0 * (whole - count + 1) / whole)
        return rate * mean / (deviation + 1e-8)

    def export(self, features: LogitFeatures, space: PolicySpace, card: Mapping[str, Any]) -> LearnedPolicy:
        """The policy of the weights in the middle, with copies of them; arguments are those of `Learner.export`."""
        policy = LearnedPolicy(
            features,
            self.agent.hidden,
            **vars(space.actions),
            squash=True,
            card=card,
        )
        linear = [layer for layer in policy.net if isinstance(layer, torch.nn.Linear)]
        for layer, (weight, bias) in zip(linear, self._layers(self._weights[None]), strict=True):
            layer.weight.copy_(weight[0])
            layer.bias.copy_(bias[0])
        return policy

    def start_from(self, policy: LearnedPolicy) -> None:
        """Take the weights of a policy with these features and layers, tanh between and behind them.

        Raises:
            InputError: for a policy with another activation, or a clipped action.
        """
        if policy.activation != "tanh" or not policy.squash:
            raise InputError(
                "agent.start must have tanh between its layers and be squashed for agent.learner 'evolution', "
                f"got {policy.activation}{'' if policy.squash else ', clipped'}"
            )
        self._weights = torch.cat([part.detach().flatten() for part in policy.parameters()])

    def weights(self) -> dict[str, Tensor]:
        """The weights in the middle, as one vector [D]."""
        return {"weights": self._weights}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Restore what `weights()` returned.

        Raises:
            InputError: for another number of weights.
        """
        if weights["weights"].shape != self._weights.shape:
            raise InputError(f"weights must be {len(self._weights)} numbers, got {list(weights['weights'].shape)}")
        self._weights = weights["weights"].clone()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next rollout depends on, and the history, as tensors and plain values."""
        return {**self._common_state(), **self.weights(), "moments": self._moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned.

        Raises:
            InputError: for the state of other settings, the number of rollouts included, on which the learning rate
                depends; this learner must then be discarded.
        """
        self._load_common_state(state)
        self.load_weights(state)
        self._moments = state["moments"].clone()

    def _layers(self, weights: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights [K, outputs, inputs] and biases [K, outputs] of every layer, of vectors [K, D]."""
        sizes = [math.prod(shape) for pair in self._shapes for shape in pair]
        parts = iter(weights.split(sizes, dim=1))
        return [(next(parts).unflatten(1, weight), next(parts).unflatten(1, bias)) for weight, bias in self._shapes]

    def _generator(self, purpose: str, number: int = 0) -> np.random.Generator:
        """Draws that depend on the seed and the rollout alone, so that nothing has to be kept to resume."""
        return np.random.default_rng([self.agent.seed, *purpose.encode(), number])


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
