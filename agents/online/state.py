"""What the online agent sees of an instance: how well both networks do on it, and how unsure the student is."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.agents.online.settings import Online
from rltemp.distillation.run import ForwardPass
from rltemp.features import LogitFeatures
from rltemp.softmax import softmax

__all__ = ["STATE", "make_state", "state_features"]

STATE = 3
"""Numbers per instance."""


def state_features(online: Online) -> LogitFeatures:
    """The features of the state: two of performance, the teacher's first, and the margin."""
    performance = "target_probability" if online.performance == "label" else "confidence"
    return LogitFeatures((f"teacher_{performance}", f"student_{performance}", "student_margin"))


def make_state(online: Online, features: LogitFeatures, seen: ForwardPass) -> Tensor:
    """State [K, B, 3] in [0, 1] of the observed minibatch, float32 and without gradient.

    Args:
        online: the settings.
        features: `state_features` of the settings.
        seen: the forward pass before an update of K students.
    """
    logits = seen.student.logits.detach().flatten(0, 1)
    targets = seen.minibatch.targets
    state = features(logits, seen.teacher_logits.flatten(0, 1), targets.flatten(), seen.progress, None)
    if online.uncertainty == "second-smallest":
        p = softmax(logits.float())
        state[:, 2] = p.amax(-1) - p.kthvalue(2, dim=-1).values
    return torch.clamp(state, 0.0, 1.0).view(*targets.shape, STATE)
