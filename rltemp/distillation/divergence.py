"""Noticing networks that have left the range in which anything is learned."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.checks import checks_values

__all__ = ["first_diverged", "is_due"]

_LARGEST = 1e4
"""Root mean square of logits; classifiers that learn stay below a hundredth of it."""

_EVERY = 50


def is_due(logits: Tensor, step: int) -> bool:
    """Whether to look at the logits before update `step`: on the CPU always, else every 50, for looking is waiting."""
    return checks_values() and (logits.is_cpu or step % _EVERY == _EVERY - 1)


def first_diverged(logits: Tensor, targets: Tensor, *, bounded: bool = True) -> tuple[int, float] | None:
    """The first of K networks whose logits are not finite or beyond all use, and its cross-entropy; None if none is.

    Args:
        logits: [K, N, C].
        targets: [K, N] class indices, or [N] that all share.
        bounded: whether large logits count. In evaluation mode they may be finite, large and harmless, where the
            running statistics of batch normalization lag behind a network that has just begun.
    """
    size = torch.linalg.vector_norm(logits.detach(), dim=(1, 2)) / math.sqrt(logits[0].numel())
    inside = torch.isfinite(size) & (size <= (_LARGEST if bounded else math.inf))
    if bool(inside.all()):
        return None
    k = int(inside.int().argmin())
    return k, float(F.cross_entropy(logits[k].detach(), targets.expand(logits.shape[:-1])[k]))
