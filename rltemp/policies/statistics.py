"""Statistics of logits per instance, [B, C] -> [B], with short gradients.

PyTorch's own cost as much as the distillation loss itself: `std` forward, `amax` backward. Compilers and `torch.func`
get PyTorch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rltemp.transforms import is_transformed

__all__ = ["logit_std", "max_gradient"]


def logit_std(logits: Tensor, factor: float = 1.0) -> Tensor:
    """Standard deviation over the classes (ddof = 1), times a factor.

    Logits that are constant up to rounding count as of deviation 1: a rule that divides by it is not defined there, and
    with 1 it leaves them alone.
    """
    if is_transformed():
        return factor * _textbook_std(logits)
    std: Tensor = _Std.apply(logits, factor)
    return std


def max_gradient(logits: Tensor, largest: Tensor, by_max: Tensor, by_mean: Tensor) -> Tensor:
    """Gradient [B, C] of a loss that sees the logits through their maximum and mean; equal largest ones share it."""
    # Into a tensor of numbers: a tensor of bools takes five times as long.
    is_largest = torch.eq(logits.detach(), largest[:, None], out=torch.empty_like(logits))
    shares = by_max / is_largest.sum(1)
    return is_largest.mul_(shares[:, None]).add_((by_mean / logits.shape[1])[:, None])


def _textbook_std(logits: Tensor) -> Tensor:
    mean = logits.mean(1, keepdim=True)
    # `vector_norm` has gradient 0 where there is no spread; the square root of the variance has NaN.
    norm = torch.linalg.vector_norm(logits - mean, dim=1)
    constant = _is_constant(norm, mean[:, 0], logits.shape[1])
    std: Tensor = norm / (logits.shape[1] - 1) ** 0.5
    return std.masked_fill(constant, 1.0)


def _is_constant(norm: Tensor, mean: Tensor, classes: int) -> Tensor:
    """Where the norm of the centered logits may be all rounding."""
    rounding = mean.detach().abs() * (8.0 * torch.finfo(norm.dtype).eps * classes**0.5)
    constant: Tensor = norm.detach() <= rounding + 1e-8
    return constant


class _Std(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, factor: float) -> Tensor:
        mean = logits.mean(1, keepdim=True)
        norm = torch.linalg.vector_norm(logits - mean, dim=1)
        constant = _is_constant(norm, mean[:, 0], logits.shape[1])
        # Of std = norm / sqrt(C - 1), the derivative is (z - mean) / (norm sqrt(C - 1)).
        ctx.factor, ctx.unit = factor, factor / (logits.shape[1] - 1) ** 0.5
        ctx.save_for_backward(logits, mean, norm.masked_fill(constant, torch.inf))
        std: Tensor = norm.mul_(ctx.unit).masked_fill_(constant, factor)
        return std

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        logits, mean, norm = ctx.saved_tensors
        if torch.is_grad_enabled():
            std = ctx.factor * _textbook_std(logits)
            return torch.autograd.grad(std, logits, grad, create_graph=True)[0], None
        slope = (grad * ctx.unit).div_(norm)
        return (logits - mean).mul_(slope[:, None]), None
