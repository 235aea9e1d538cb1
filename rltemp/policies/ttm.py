"""Transformed teacher matching (Zheng & Yang, ICLR 2024): only the teacher is softened."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rltemp.checks import check_number
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures

__all__ = ["TTMPolicy", "WTTMPolicy"]


class TTMPolicy(TemperaturePolicy):
    """The teacher's probabilities to the power 1 / T, renormalized; the student as it is: T_t = T, T_s = 1, scale 1.

    Source: Zheng & Yang (2024), "Knowledge Distillation Based on Transformed Teacher Matching".

    Args:
        temperature: T, > 0; the inverse of the paper's exponent gamma.
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        self.temperature = check_number("temperature", temperature, low=0.0, low_open=True)

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """T for the teacher, 1 for the student, and the scale of the variant."""
        teacher = teacher_logits.new_full((len(teacher_logits),), self.temperature)
        return Temperatures(teacher, torch.ones_like(teacher), self._scale(teacher_logits))

    def _scale(self, teacher_logits: Tensor) -> Tensor:
        return teacher_logits.new_ones(len(teacher_logits))


class WTTMPolicy(TTMPolicy):
    """TTM that counts an instance the more, the softer the teacher is on it: scale = sum over classes of p^(1 / T).

    The scale lies between 1, for a teacher that is sure, and C^(1 - 1 / T), for one that is at a loss (T >= 1).
    Source: Zheng & Yang (2024), "Knowledge Distillation Based on Transformed Teacher Matching".

    Args:
        temperature: T, > 0; the inverse of the paper's exponent gamma.
    """

    def _scale(self, teacher_logits: Tensor) -> Tensor:
        # With Z the sum of exponentials of what lies above the maximum: Z(z / T) / Z(z)^(1 / T).
        below = teacher_logits - teacher_logits.detach().amax(1, keepdim=True)
        return _sum_of_exponentials(below, self.temperature) / _sum_of_exponentials(below) ** (1.0 / self.temperature)


def _sum_of_exponentials(logits: Tensor, temperature: float = 1.0) -> Tensor:
    # PyTorch's `exp2` takes a third of the time of its `exp`; in place, since fresh memory costs as much again.
    return (logits / (temperature * math.log(2.0))).exp2_().sum(1)
