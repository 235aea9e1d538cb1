"""A schedule in units of the spread of the teacher's logits."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.checks import check_number
from rltemp.errors import InputError
from rltemp.policies.logit_statistics import logit_std
from rltemp.policies.over_batch import OverBatchPolicy
from rltemp.temperatures import Temperatures
from rltemp.transfer import progress_tensor

__all__ = ["SpreadPolicy"]


class SpreadPolicy(OverBatchPolicy):
    """A temperature that moves from `start` to `end` over the run, in units of the spread s of the teacher's logits.

    T_t = T_s = s start (end / start)^progress, scale `scale` s. The spread of an instance is the standard deviation of
    the teacher's logits over the classes (ddof = 1); s is its mean over the instances of the batch that count, or with
    `each` every instance's own. A teacher of logits twice as large thus gets twice the temperatures, and the same
    softened probabilities; as the scale grows with s too, so does the gradient with respect to the student's logits
    stay the same. No gradient flows through s. Constant logits count as of deviation 1. Source: this project.

    Args:
        start: T / s at progress 0, > 0.
        end: T / s at progress 1, > 0.
        scale: factor on the loss by s, > 0.
        each: whether every instance has its own s; then its temperature does not depend on its batch.

    Raises:
        InputError: for an option of another type or out of range.
    """

    def __init__(self, start: float = 2.0, end: float = 0.2, scale: float = 6.0, each: bool = False) -> None:
        super().__init__()
        self.start = check_number("start", start, low=0.0, low_open=True)
        self.end = check_number("end", end, low=0.0, low_open=True)
        self.scale = check_number("scale", scale, low=0.0, low_open=True)
        if not isinstance(each, bool):
            raise InputError(f"each must be true or false, got {each!r}")
        self.over_batch = not each

    def mark(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """The spread of the teacher's logits, [B]."""
        return logit_std(teacher_logits.detach())

    def answer(self, marks: Tensor, progress: float | Tensor, mask: Tensor | None) -> Temperatures:
        """The schedule's value at `progress`, in [0, 1], times the spread of B instances, [B]."""
        spread = _mean(marks, mask).expand_as(marks) if self.over_batch else marks
        shared = spread * self.start * (self.end / self.start) ** progress_tensor(progress, marks)
        return Temperatures(shared, shared, self.scale * spread)


def _mean(spread: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of spreads [B] over the instances of `mask`, [B] bool; 1, that of constant logits, if there is none."""
    if mask is None:
        return spread.mean()
    count = mask.sum()
    return torch.where(count > 0, torch.where(mask, spread, 0.0).sum() / count.clamp(min=1), 1.0)
