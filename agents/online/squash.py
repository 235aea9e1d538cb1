"""From an action in [-1, 1] to a temperature, and what the policy's density is evaluated at."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rltemp.agents.online.settings import Online
from rltemp.temperatures import action_to_temperature, temperature_to_action

__all__ = ["REACH", "density_argument", "first_action", "to_temperature"]

REACH = 4.0
"""With `squash` "sigmoid", action 1 is x = 4, which the public code's x leaves once in a million draws."""


def to_temperature(online: Online, actions: Tensor) -> Tensor:
    """Temperatures [...] of actions [...], clipped to [-1, 1]."""
    if online.squash == "log":
        return action_to_temperature(actions, online.low, online.high)
    return online.high * torch.sigmoid(REACH * actions.clamp(-1.0, 1.0))


def density_argument(online: Online, actions: Tensor) -> Tensor:
    """Where the policy's density is evaluated, [...]: at the actions, or in the same unit at their temperatures."""
    if online.density == "action":
        return actions
    return to_temperature(online, actions) / (REACH if online.squash == "sigmoid" else 1.0)


def first_action(online: Online) -> float:
    """The mean action before any learning, in [-1, 1]: the warm-up's temperature, or x = 0 with "sigmoid"."""
    if online.squash == "sigmoid":
        return 0.0
    action = float(temperature_to_action(torch.tensor(online.temperature), online.low, online.high))
    return math.copysign(min(abs(action), 1.0), action)
