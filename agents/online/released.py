"""Formulas of RLKD's public code (ITKD at 0183c6c): its reward, and its advantages along the order of a batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

__all__ = ["BatchOrderBuffer", "batch_order_advantages", "macro_accuracy", "reward_factor"]

Floats = npt.NDArray[np.floating]

_EPOCHS = 240
_GAMMA, _LAMBDA = 0.99, 0.95


def macro_accuracy(logits: Tensor, targets: Tensor) -> float:
    """Mean over classes of the share of their instances that are right, in [0, 1], as torchmetrics' "macro".

    Classes that are neither a label nor a prediction do not count; one that is a prediction alone counts 0.

    Args:
        logits: [B, C].
        targets: [B] class indices.
    """
    classes = logits.shape[1]
    predicted = logits.argmax(1)
    right = torch.bincount(targets[predicted == targets], minlength=classes).double()
    labels, predictions = (torch.bincount(found, minlength=classes) for found in (targets, predicted))
    shares = right / labels.clamp_min(1)
    return float(shares[labels + predictions > 0].mean())


def reward_factor(epoch: float) -> float:
    """Factor on the reward in `epoch`, from 1 to 240: f (1 + (1 + cos(pi epoch / n)) / 2).

    f = 10 and n = 75 before epoch 150, f = 5 and n = 30 before 210, f = 2 and n = 30 before 240; then the factor is 1.
    """
    if epoch >= _EPOCHS:
        return 1.0
    size, period = (10.0, 75) if epoch < 150 else (5.0, 30) if epoch < 210 else (2.0, 30)
    return size * (1.0 + (1.0 + math.cos(math.pi * epoch / period)) / 2.0)


def batch_order_advantages(reward: float, values: Floats) -> tuple[Floats, Floats]:
    """Advantages and returns, both [B] float64, of a batch whose instances are taken for the steps of an episode.

    The last instance gets the whole reward, and its own value stands for what follows; gamma 0.99, lambda 0.95.
    Advantages are normalized to mean 0 and deviation 1, so that of the reward little more than the sign is left. Equal
    advantages, which the public code divides by 0, become 0.

    Args:
        reward: of the batch.
        values: of the instances in the order of the batch, [B].
    """
    following = np.append(values[1:], values[-1]).astype(np.float64)
    deltas = _GAMMA * following - values
    deltas[-1] += reward
    rewards = np.zeros(len(values))
    rewards[-1] = reward + _GAMMA * values[-1]
    advantages, returns = _discounted(deltas, _GAMMA * _LAMBDA), _discounted(rewards, _GAMMA)
    centered = advantages - advantages.mean()
    deviation = float(advantages.std())
    return (centered / deviation if deviation > 0.0 else np.zeros_like(centered)), returns


class BatchOrderBuffer(RolloutBuffer):
    """SB3's rollout buffer of one step of one student, with `batch_order_advantages` over its slots."""

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: npt.NDArray[Any]) -> None:
        """Fill `advantages` and `returns`, both [1, B]; what follows the step is not used."""
        reward = float(self.rewards[0].mean())
        self.advantages[0], self.returns[0] = batch_order_advantages(reward, self.values[0])


def _discounted(values: Floats, factor: float) -> Floats:
    """Sums of the values from each on, each one later by a `factor` less, [B] float64."""
    sums = np.array(values, dtype=np.float64)
    for index in reversed(range(len(sums) - 1)):
        sums[index] += factor * sums[index + 1]
    return sums
