"""Detecting networks whose logits are not finite, or so large that training cannot recover."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.checks import checks_values

__all__ = ["diverged", "first_diverged", "is_due"]

_LARGEST = 1e4
"""Largest root mean square of a network's logits; classifiers that learn stay below a hundredth of it."""

_EVERY = 50
"""Updates between two checks on an accelerator."""


def is_due(logits: Tensor, step: int) -> bool:
    """Whether to check the logits before update `step`.

    At every update on the CPU, and at every 50th on an accelerator, where reading a value waits for all queued work.
    """
    return checks_values() and (logits.is_cpu or step % _EVERY == _EVERY - 1)


def diverged(logits: Tensor, *, bounded: bool = True) -> Tensor:
    """Which of K networks have logits [K, N, C] that are not finite, or of a root mean square above 10,000; [K] bool.

    Args:
        logits: [K, N, C].
        bounded: whether large but finite logits count. In evaluation mode they may be harmless, if the running
            statistics of batch normalization lag behind a network at the start of its training.
    """
    size = torch.linalg.vector_norm(logits.detach(), dim=(1, 2)) / math.sqrt(logits[0].numel())
    inside: Tensor = torch.isfinite(size) & (size <= (_LARGEST if bounded else math.inf))
    return ~inside


def first_diverged(logits: Tensor, targets: Tensor, *, bounded: bool = True) -> tuple[int, float] | None:
    """Find the first of K networks that `diverged`.

    Args:
        logits: [K, N, C].
        targets: [K, N] class indices, or [N] shared by all networks.
        bounded: as of `diverged`.

    Returns:
        The network's index and its mean cross-entropy, in nats; None if all are in range.
    """
    lost = diverged(logits, bounded=bounded)
    if not bool(lost.any()):
        return None
    k = int(lost.int().argmax())
    return k, float(F.cross_entropy(logits[k].detach(), targets.expand(logits.shape[:-1])[k]))
