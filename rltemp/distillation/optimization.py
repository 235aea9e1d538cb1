"""The optimizer of a run and its learning-rate schedule."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.recipes.schema import Optimization

__all__ = ["learning_rate", "load_optimizer", "make_optimizer", "set_learning_rate"]


def make_optimizer(parameters: Iterable[nn.Parameter], settings: Optimization) -> torch.optim.SGD:
    """SGD with the settings' momentum and weight decay, at their initial learning rate."""
    return torch.optim.SGD(
        parameters,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load the averages of a saved optimizer of the same parameters; `optimizer` keeps its own settings.

    Args:
        optimizer: SGD or Adam.
        state: the saved optimizer's `state_dict()`.

    Raises:
        InputError: for averages of other shapes.
    """
    # Copied, since PyTorch keeps the saved tensors themselves, and its steps would change them.
    optimizer.load_state_dict({**optimizer.state_dict(), "state": copy.deepcopy(state["state"])})
    for parameter, averages in optimizer.state.items():
        for name, value in averages.items():
            want = torch.Size() if name == "step" else parameter.shape
            if value is not None and (not isinstance(value, Tensor) or value.shape != want):
                got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise InputError(f"{name} of the optimizer must have shape {list(want)}, got {got}")


def learning_rate(settings: Optimization, progress: float) -> float:
    """Learning rate of the update at `progress` in [0, 1): cosine to zero, or x 0.1 at each milestone.

    The cosine is that of Loshchilov & Hutter (2017), equation 5, without restarts.
    """
    if settings.schedule == "cosine":
        return settings.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
    return settings.lr * 0.1 ** sum(progress >= milestone for milestone in settings.milestones)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all of the optimizer's parameters to `rate`, for its next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
