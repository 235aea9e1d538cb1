"""A calibration that learns which instances caused the reward of their batch."""

import copy
import itertools
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rltemp.agents.credit.calibration import Calibration, Floats, RunningRms
from rltemp.distillation.optimization import load_optimizer
from rltemp.envs.contract import Transition

__all__ = ["Redistribution"]


class Redistribution(Calibration):
    """Instances are rewarded by an additive model of the batch reward, and share the residual equally.

    The model g(features_i, T_i) is fitted so that mean_i g = R over many steps; then r_i = g_i + (R - mean g). RLKD
    (Zhang 2024, arXiv 2407.00115) redistributes by differences of predicted returns, with an equal share of the
    residual; here the model gets the chosen temperature, so that r_i depends on it. No probe gradient is needed: the
    model learns from batches with different instances and temperatures. Before the first update g = 0, hence r_i = R.

    Args:
        features: F, numbers per instance.
        generator: draws the initial weights and the order of replay.
        hidden: width of both hidden layers of g.
        capacity: number of latest steps (of K batches each) that are replayed.
        passes: passes over the replayed steps per update.
        batch_size: batches, one of a student's each, per gradient step.
        learning_rate: Adam's learning rate.
    """

    def __init__(
        self,
        features: int,
        generator: torch.Generator,
        *,
        hidden: int = 32,
        capacity: int = 400,
        passes: int = 5,
        batch_size: int = 64,
        learning_rate: float = 1e-2,
    ) -> None:
        self._generator = generator
        self._passes, self._batch_size = passes, batch_size
        self._replay: deque[tuple[Tensor, Tensor]] = deque(maxlen=capacity)
        self._rms = RunningRms()
        self._model = _additive_model((features + 1, hidden, hidden, 1), generator)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=learning_rate)

    def calibrate(self, transition: Transition) -> Floats:
        """The model's predictions plus an equal share of the residual, [K, B]; the transition is kept for `update`."""
        inputs = _inputs(transition)
        reward = transition.reward.astype(np.float64)
        self._rms.include(reward)
        self._replay.append((inputs, torch.from_numpy(transition.reward.copy())))
        with torch.no_grad():
            shares = self._predict(inputs).double().numpy() * self._rms.value
        rewards: Floats = shares + (reward - shares.mean(axis=1))[:, None]
        return rewards

    def update(self) -> None:
        """Fit the model to the replayed batches; does nothing if all rewards so far were 0."""
        if not self._replay or self._rms.value == 0.0:
            return
        # Steps may hold different numbers of students: those that are lost are not in them.
        inputs = torch.cat([inputs for inputs, _ in self._replay])
        rewards = torch.cat([reward for _, reward in self._replay]) / self._rms.value
        for _ in range(self._passes):
            order = torch.randperm(len(rewards), generator=self._generator)
            for chosen in torch.split(order, self._batch_size):
                loss = nn.functional.mse_loss(self._predict(inputs[chosen]).mean(dim=1), rewards[chosen])
                self._optimizer.zero_grad()
                torch.autograd.backward(loss)
                self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Copies of the states of model, optimizer, replay, running root mean square, and generator."""
        state = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "replay": list(self._replay),
            "rms": self._rms.state_dict(),
            "generator": self._generator.get_state(),
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned."""
        self._model.load_state_dict(state["model"])
        load_optimizer(self._optimizer, state["optimizer"])
        self._replay.clear()
        self._replay.extend((inputs, reward) for inputs, reward in state["replay"])
        self._rms.load_state_dict(state["rms"])
        self._generator.set_state(state["generator"])

    def _predict(self, inputs: Tensor) -> Tensor:
        """Predictions [..., B] for inputs [..., B, F + 1], in root mean squares of the reward."""
        shares: Tensor = self._model(inputs).squeeze(-1)
        return shares


def _additive_model(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Linear layers with tanh between them; the last has zero weights, so that the initial predictions are 0."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        # Created without values, which would be drawn from torch's global generator.
        linear = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
        nn.init.xavier_uniform_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    nn.init.zeros_(linear.weight)
    return nn.Sequential(*layers[:-1])


def _inputs(transition: Transition) -> Tensor:
    """Inputs of the model: features and log temperature, [K, B, F + 1]."""
    temperatures = np.log(transition.temperatures)[..., None]
    return torch.from_numpy(np.concatenate([transition.features, temperatures], axis=2))
