"""Statistics of logits per instance, [B, C] -> [B], with short gradients.

PyTorch's own cost as much as the distillation loss itself: `std` forward, `amax` backward. These are differentiable
twice, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["logit_max_and_mean", "logit_std"]


def logit_max_and_mean(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Largest and mean logit of every instance; equal largest ones share the gradient."""
    largest, mean = _MaxAndMean.apply(logits)
    return largest, mean


def logit_std(logits: Tensor) -> Tensor:
    """Standard deviation over the classes (ddof = 1); 1 where the logits are constant up to rounding.

    Without spread a rule that divides by it is not defined; with 1 it leaves the logits alone.
    """
    std, mean = _StdAndMean.apply(logits)
    rounding = 8.0 * torch.finfo(logits.dtype).eps * mean.detach().abs()
    return torch.where(std > rounding.clamp(min=1e-8), std, 1.0)


class _PerInstance(torch.autograd.Function):
    """Instances are independent: K batches of B are one of K * B."""

    @classmethod
    def vmap(
        cls, info: Any, in_dims: tuple[int | None, ...], logits: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        batches = logits.movedim(in_dims[0] or 0, 0)
        first, second = cls.apply(batches.flatten(0, 1))
        return (first.unflatten(0, batches.shape[:2]), second.unflatten(0, batches.shape[:2])), (0, 0)


class _MaxAndMean(_PerInstance):
    @staticmethod
    def forward(logits: Tensor) -> tuple[Tensor, Tensor]:
        return logits.amax(1), logits.mean(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], output[0])

    @staticmethod
    def backward(ctx: Any, by_max: Tensor, by_mean: Tensor) -> Tensor:
        logits, largest = ctx.saved_tensors
        is_largest = (logits == largest[:, None]).to(logits.dtype)
        shared = by_mean / logits.shape[1]
        return torch.addcmul(shared[:, None], is_largest, (by_max / is_largest.sum(1))[:, None])


class _StdAndMean(_PerInstance):
    @staticmethod
    def forward(logits: Tensor) -> tuple[Tensor, Tensor]:
        mean = logits.mean(1)
        norm = torch.linalg.vector_norm(logits - mean[:, None], dim=1)
        return norm / (logits.shape[1] - 1) ** 0.5, mean

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], *output)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, by_std: Tensor, _: Tensor) -> Tensor:
        logits, std, mean = ctx.saved_tensors
        if torch.is_grad_enabled():
            mean = logits.mean(1)
        # 0 / 0 where there is no spread: no direction raises it more than another.
        slope = torch.where(std > 0.0, by_std / (std * (logits.shape[1] - 1)), 0.0)
        slopes: Tensor = (logits - mean[:, None]) * slope[:, None]
        return slopes
