"""Losses of hidden states, chunk by chunk, with gradients of the student's hidden states and output matrix.

The plain way computes the logits of all tokens, [N, V], and keeps several tensors of that size until the backward pass.
Here a chunk of rows goes through the output matrix, the loss and back, and leaves nothing behind but its sums.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rltemp.precision import without_autocast
from rltemp.tokens.head import Head, chunks

__all__ = ["Work", "losses_by_token", "mean_loss"]


@dataclasses.dataclass(frozen=True)
class Work:
    """What is done with each chunk.

    Attributes:
        losses: from logits [r, V] of the student and the rows they are of to losses [r].
        leaves: tensors beside the logits that `losses` computes with; those that require a gradient get one.
        dtype: of logits and losses.
        chunk: rows at once; None for a default by vocabulary.
    """

    losses: Callable[[Tensor, slice], Tensor]
    leaves: Sequence[Tensor]
    dtype: torch.dtype
    chunk: int | None

    def forward(self, head: Head) -> Tensor:
        """Losses of all tokens, [N], without gradient."""
        head = head.in_one_dtype()
        parts = [self.losses(head.logits(rows, self.dtype), rows) for rows in self._chunks(head)]
        return torch.cat([head.hidden.new_zeros(0, dtype=self.dtype), *parts])

    def backward(self, head: Head, weights: Tensor, needs: Sequence[bool]) -> tuple[Tensor, list[Tensor | None]]:
        """Losses of all tokens, [N], and gradients of their sum with `weights` [N], each as `needs` says.

        Gradients are in the order hidden, weight, bias, leaves, the first three in the dtype of the losses.
        """
        head = head.in_one_dtype()
        sums = _Sums(head, needs[:3], self.dtype)
        wanted = [leaf for leaf, need in zip(self.leaves, needs[3:], strict=True) if need]
        of_leaves = [torch.zeros_like(leaf) for leaf in wanted]
        parts = []
        for rows in self._chunks(head):
            logits = head.logits(rows, self.dtype)
            with torch.enable_grad():
                losses = self.losses(logits.requires_grad_(), rows)
            grads = torch.autograd.grad(losses, (logits, *wanted), weights[rows], allow_unused=True)
            parts.append(losses.detach())
            del losses, logits
            if grads[0] is not None:
                sums.add(rows, grads[0])
            for total, grad in zip(of_leaves, grads[1:], strict=True):
                if grad is not None:
                    total.add_(grad)
        rest = iter(of_leaves)
        gradients = [*sums.totals, *(next(rest) if need else None for need in needs[3:])]
        return torch.cat([weights.new_zeros(0), *parts]), gradients

    def _chunks(self, head: Head) -> Any:
        return chunks(len(head), head.vocabulary, self.chunk)


class _Sums:
    """Gradients of a head, added up over chunks in the precision of the losses."""

    def __init__(self, head: Head, needs: Sequence[bool], dtype: torch.dtype) -> None:
        self._head = head
        parts = zip((head.hidden, head.weight, head.bias), needs, strict=True)
        self.totals = [torch.zeros_like(of, dtype=dtype) if need and of is not None else None for of, need in parts]

    def add(self, rows: slice, by_logits: Tensor) -> None:
        """Add the chunk whose loss has the gradient `by_logits`, [r, V]."""
        head, (hidden, weight, bias) = self._head, self.totals
        if bias is not None:
            bias.add_(by_logits.sum(0))
        # As the backward pass of a linear layer does, products are of the layer's own dtype.
        by_logits = by_logits.to(head.dtype)
        if hidden is not None:
            hidden[rows] = (by_logits @ head.weight).to(hidden.dtype)
        if weight is not None and weight.dtype == head.dtype:
            weight.addmm_(by_logits.T, head.hidden[rows])
        elif weight is not None:
            weight.add_(by_logits.T @ head.hidden[rows])


def losses_by_token(work: Work, head: Head, originals: Sequence[Tensor]) -> Tensor:
    """Losses of all tokens, [N]; the backward pass computes every chunk again, for any gradient of the losses.

    Args:
        work: what is done.
        head: the student's.
        originals: the tensors that the leaves of `work` are copies of.
    """
    losses: Tensor = _ByToken.apply(work, head.name, head.hidden, head.weight, head.bias, *originals)
    return losses


def mean_loss(work: Work, head: Head, counts: Tensor) -> Tensor:
    """Mean of the losses of the tokens that count, 0 if there is none; gradients are computed along with the losses.

    Args:
        work: what is done; its leaves are leaves of the autograd graph, such as the parameters of a policy.
        head: the student's.
        counts: [N] bool.
    """
    # Where gradients are off, `needs_input_grad` says nothing of it.
    wanted = torch.is_grad_enabled()
    mean: Tensor = _Mean.apply(work, counts, wanted, head.name, head.hidden, head.weight, head.bias, *work.leaves)
    return mean


class _ByToken(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, work: Work, name: str, hidden: Tensor, weight: Tensor, bias: Tensor | None, *originals: Tensor
    ) -> Tensor:
        ctx.work, ctx.name = work, name
        ctx.save_for_backward(hidden, weight, bias)
        with without_autocast(hidden):
            return work.forward(Head(name, hidden, weight, bias))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        head = Head(ctx.name, *ctx.saved_tensors)
        with without_autocast(head.hidden):
            _, gradients = ctx.work.backward(head, grad, ctx.needs_input_grad[2:])
        kept = (head.hidden, head.weight, head.bias)
        pairs = zip(gradients[:3], kept, strict=True)
        of_head = (None if part is None or of is None else part.to(of.dtype) for part, of in pairs)
        return None, None, *of_head, *gradients[3:]


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        work: Work,
        counts: Tensor,
        wanted: bool,
        name: str,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *leaves: Tensor,
    ) -> Tensor:
        head, weights = Head(name, hidden, weight, bias), counts.to(work.dtype)
        total = weights.sum().clamp(min=1.0)
        with without_autocast(hidden):
            if wanted and any(ctx.needs_input_grad):
                losses, gradients = work.backward(head, weights, ctx.needs_input_grad[4:])
                ctx.save_for_backward(total, *gradients)
                ctx.dtypes = [None if of is None else of.dtype for of in (hidden, weight, bias, *leaves)]
            else:
                losses = work.forward(head)
        return torch.where(counts, losses, 0.0).sum() / total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # Of the sum until here, and in float32: those of a mean over many tokens would vanish in float16, before the
        # factor that is to keep them from it.
        total, *gradients = ctx.saved_tensors
        factor = grad / total
        results = (
            None if part is None else torch.mul(part, factor, out=torch.empty_like(part, dtype=dtype))
            for part, dtype in zip(gradients, ctx.dtypes, strict=True)
        )
        return None, None, None, None, *results
