"""The optimizer of a run and its learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from rltemp.recipes.schema import Optimization

__all__ = ["learning_rate", "make_optimizer", "set_learning_rate"]


def make_optimizer(parameters: Iterable[nn.Parameter], settings: Optimization) -> torch.optim.SGD:
    """SGD as the settings say, at the initial learning rate."""
    return torch.optim.SGD(
        parameters,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def learning_rate(settings: Optimization, progress: float) -> float:
    """Learning rate of the update at `progress` in [0, 1): cosine to zero, or x 0.1 at each milestone."""
    if settings.schedule == "cosine":
        return settings.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
    return settings.lr * 0.1 ** sum(progress >= milestone for milestone in settings.milestones)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step use `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate
