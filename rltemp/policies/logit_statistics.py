"""Maximum and standard deviation of logits per instance, [B, C] -> [B], with cheap gradients.

PyTorch's own operations cost as much as the distillation loss itself (`std` in the forward, `amax` in the backward
pass). They still serve compilers, `torch.func`, and logits without gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rltemp.tracing import is_transformed

__all__ = ["logit_max", "logit_std"]


def logit_std(logits: Tensor, factor: float = 1.0) -> Tensor:
    """Standard deviation [B] of logits [B, C] over the classes (ddof = 1), times `factor`.

    Logits that are constant up to rounding get deviation 1: a rule that divides by the deviation then leaves them
    unchanged.
    """
    if is_transformed():
        return factor * _textbook_std(logits)
    std: Tensor = _Std.apply(logits, factor)
    return std


def logit_max(logits: Tensor) -> Tensor:
    """Largest logit [B] of logits [B, C]; equal largest logits share its gradient."""
    if is_transformed() or not logits.requires_grad:
        return logits.amax(1)
    largest: Tensor = _Max.apply(logits)
    return largest


def _textbook_std(logits: Tensor) -> Tensor:
    mean = logits.mean(1, keepdim=True)
    # For constant logits `vector_norm` has gradient 0, and the square root of the variance NaN.
    norm = torch.linalg.vector_norm(logits - mean, dim=1, keepdim=True)
    std: Tensor = norm / (logits.shape[1] - 1) ** 0.5
    return std.masked_fill(_is_constant(norm, mean, logits.shape[1]), 1.0)[:, 0]


def _is_constant(norm: Tensor, mean: Tensor, classes: int) -> Tensor:
    """Where, [B, 1] bool, the norm of the centered logits may consist of rounding errors alone."""
    of_mean = 8.0 * torch.finfo(norm.dtype).eps * classes**0.5
    return torch.sub(norm.detach(), mean.detach().abs(), alpha=of_mean) <= 1e-8


class _Max(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        largest = logits.amax(1)
        ctx.save_for_backward(logits, largest)
        return largest

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        logits, largest = ctx.saved_tensors
        # Written as numbers, since multiplying by a tensor of bools takes five times as long.
        is_largest = torch.eq(logits.detach(), largest.detach().unsqueeze(1), out=torch.empty_like(logits))
        share = (grad / is_largest.sum(1)).unsqueeze(1)
        # Only the share has a second derivative: the positions of the largest logits are piecewise constant.
        return is_largest * share if torch.is_grad_enabled() else is_largest.mul_(share)


class _Std(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, factor: float) -> Tensor:
        mean = logits.mean(1, keepdim=True)
        centered = logits - mean
        norm = torch.linalg.vector_norm(centered, dim=1, keepdim=True)
        ctx.factor, ctx.unit = factor, factor / (logits.shape[1] - 1) ** 0.5
        std: Tensor = (norm * ctx.unit).masked_fill_(_is_constant(norm, mean, logits.shape[1]), factor)
        ctx.save_for_backward(logits, centered, std)
        return std[:, 0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, centered, std = ctx.saved_tensors
        if torch.is_grad_enabled():
            textbook = ctx.factor * _textbook_std(logits)
            return torch.autograd.grad(textbook, logits, grad, create_graph=True)[0], None
        # std = factor norm / sqrt(C - 1) has the derivative (z - mean) factor^2 / ((C - 1) std).
        return centered * (grad * ctx.unit**2).unsqueeze(1).div_(std), None
