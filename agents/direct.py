"""What learners that move the weights of a policy themselves have in common: the policy, as one vector."""

from __future__ import annotations

import copy
import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rltemp.agents.learner import Learner, episode_seed
from rltemp.agents.metrics import RolloutRecord
from rltemp.agents.policy_io import check_continuable
from rltemp.checks import unchecked
from rltemp.envs.contract import StudentVectorEnv
from rltemp.errors import InputError
from rltemp.features import LogitFeatures, center
from rltemp.policies.learned import LearnedPolicy
from rltemp.progress import NoProgress, Progress
from rltemp.recipes.schema import Agent, PolicySpace

__all__ = ["DirectLearner", "linear", "normal"]


class DirectLearner(Learner):
    """A learner whose policy's weights are one vector [D], moved without an actor and a critic.

    The policy has tanh between its layers and behind the last one, which starts at 0: at the middle of every range.

    Args:
        env: K students of B instances, with autoreset disabled.
        agent: the settings.

    Raises:
        InputError: for another number of students than `agent` says.
    """

    def __init__(self, env: StudentVectorEnv, agent: Agent) -> None:
        super().__init__(agent)
        if env.students != agent.students:
            raise InputError(f"env must hold agent.students = {agent.students} students, got {env.students}")
        self._env = env
        self._shapes = [((outputs, inputs), (outputs,)) for outputs, inputs in self._architecture(env)]
        generator = self._generator("start")
        layers = [normal(generator, (outputs, inputs)) / math.sqrt(inputs) for (outputs, inputs), _ in self._shapes]
        layers[-1].zero_()
        self._weights = torch.cat([torch.cat((layer.flatten(), layer.new_zeros(len(layer)))) for layer in layers])
        self._moments: Any = None  # what the optimizer knows of past gradients

    def _architecture(self, env: StudentVectorEnv) -> list[tuple[int, int]]:
        """Outputs and inputs of every layer, the one over the features first."""
        widths = (env.features, *self.agent.hidden, env.actions)
        return [(outputs, inputs) for inputs, outputs in itertools.pairwise(widths)]

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
        metrics = self._learn(progress or NoProgress())
        if not bool(self._weights.isfinite().all()):
            raise self._diverged()
        return self._note(metrics, self._env.tasks)

    @abstractmethod
    def _learn(self, progress: Progress) -> dict[str, float]:
        """Play one episode, move the weights, and return its metrics."""

    def _play(self, act: Callable[[Tensor], Tensor], progress: Progress) -> RolloutRecord:
        """One episode, in which `act` gives the actions [K * B, A] for observations [K * B, F]."""
        env, record = self._env, RolloutRecord()
        with torch.no_grad(), unchecked():
            observation, _ = env.reset(
                seed=episode_seed(self.agent.seed, len(self.history)), options=self._turn(env.tasks)
            )
            for _ in range(env.horizon):
                observation, *_ = env.step(act(torch.from_numpy(observation)).numpy())
                record.note(env.transition)
                progress.advance()
        return record

    def export(self, features: LogitFeatures, space: PolicySpace, card: Mapping[str, Any]) -> LearnedPolicy:
        """The policy of the weights, with copies of them; arguments are those of `Learner.export`."""
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
        check_continuable("agent.start", policy, squash=True)
        self._weights = torch.cat([part.detach().flatten() for part in policy.parameters()])

    def weights(self) -> dict[str, Tensor]:
        """The weights, as one vector [D]."""
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
        return {**self._common_state(), **self.weights(), "moments": copy.deepcopy(self._moments)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned.

        Raises:
            InputError: for the state of other settings, the number of rollouts included, on which the learning rate
                depends; this learner must then be discarded.
        """
        self._load_common_state(state)
        self.load_weights(state)
        self._moments = copy.deepcopy(state["moments"])

    def _act(self, observations: Tensor, weights: Tensor) -> Tensor:
        """Actions [K, N, A] of observations [K, N, F], each row's by its own weights [K, D]."""
        values = center(observations)
        for weight, bias in self._layers(weights):
            values = torch.tanh(linear(values, weight, bias))
        return values

    def _layers(self, weights: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights [K, outputs, inputs] and biases [K, outputs] of every layer, of vectors [K, D]."""
        sizes = [math.prod(shape) for pair in self._shapes for shape in pair]
        parts = iter(weights.split(sizes, dim=1))
        return [(next(parts).unflatten(1, weight), next(parts).unflatten(1, bias)) for weight, bias in self._shapes]


def linear(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Values [K, N, I] through K layers, each row its own: weights [K, O, I] and biases [K, O] give [K, N, O]."""
    return torch.baddbmm(bias.unsqueeze(1), values, weight.transpose(1, 2))


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Standard normal draws."""
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
