"""Temperatures by how hard a token is among those of its batch: AdaKD (Xie et al., AAAI 2026)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rltemp.checks import check_number
from rltemp.policies.over_batch import OverBatchPolicy
from rltemp.temperatures import Temperatures

__all__ = ["AdaKDPolicy"]

_SMALLEST = 1e-12


class AdaKDPolicy(OverBatchPolicy):
    """Colder where the networks differ more than usual: T = T_0 exp(-c tanh(log(s / median s))); T_t = T_s = T.

    s is the Hellinger distance of both networks' probabilities at temperature 1, in [0, 1]; the median, the lower of
    two in the middle, is over the instances that count. T lies within T_0 exp(-c) and T_0 exp(c). No gradient flows
    through s. Source: Xie et al. (2026), "LLM-Oriented Token-Adaptive Knowledge Distillation", inverse difficulty
    temperature scaling. Their choice of tokens by loss is no part of the rule.

    Args:
        temperature: T_0, > 0.
        strength: c, >= 0; the paper takes 0.5.
        scale: factor on the loss of every instance, > 0; None for T^2, as in the paper.
    """

    def __init__(self, temperature: float = 1.0, strength: float = 0.5, scale: float | None = None) -> None:
        super().__init__()
        self.temperature = check_number("temperature", temperature, low=0.0, low_open=True)
        self.strength = check_number("strength", strength, low=0.0)
        self.scale = None if scale is None else check_number("scale", scale, low=0.0, low_open=True)

    def mark(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """The Hellinger distance s, [B], in [0, 1]."""
        with torch.no_grad():
            (teacher, of_teacher), (student, of_student) = _roots(teacher_logits), _roots(student_logits)
            # Not by 1 - sum sqrt(p q), which cancels where the networks agree.
            apart = torch.addcmul(teacher, student, of_teacher / of_student, value=-1.0)
            distance: Tensor = torch.linalg.vector_norm(apart, dim=1) / (math.sqrt(2.0) * of_teacher[:, 0])
            return distance

    def answer(self, marks: Tensor, progress: float | Tensor, mask: Tensor | None) -> Temperatures:
        """T of B instances; a batch without any difference has T_0."""
        marks = marks.clamp(min=_SMALLEST)
        hardness = torch.tanh(torch.log(marks / _median(marks, mask)))
        return Temperatures.shared(self.temperature * torch.exp(-self.strength * hardness), self.scale)


def _roots(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Square roots of the probabilities of logits [B, C]: vectors [B, C] whose lengths, [B, 1], are still to divide."""
    # In bits: on the CPU `exp2` takes a third of the time of `exp`.
    bits = 0.5 / math.log(2.0)
    powers = torch.add(logits.amax(1, keepdim=True).mul_(-bits), logits, alpha=bits).exp2_()
    return powers, torch.linalg.vector_norm(powers, dim=1, keepdim=True)


def _median(marks: Tensor, mask: Tensor | None) -> Tensor:
    """The lower median, [] or [1], of marks [B] over those of `mask`, [B] bool; infinite if there is none."""
    if mask is None:
        return marks.median()
    middle = ((mask.sum() - 1) // 2).clamp(min=0)
    return marks.masked_fill(~mask, torch.inf).sort().values.gather(0, middle.unsqueeze(0))
