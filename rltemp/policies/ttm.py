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
    """The teacher's probabilities to the power 1 / T, renormalized; the student unsoftened: T_t = T, T_s = 1, scale 1.

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
        """T for the teacher and 1 for the student, for each of B instances; the scale is 1, or WTTM's weight."""
        teacher = teacher_logits.new_full((teacher_logits.shape[0],), self.temperature)
        return Temperatures(teacher, torch.ones_like(teacher), self._scale(teacher_logits))

    def _scale(self, teacher_logits: Tensor) -> Tensor:
        return teacher_logits.new_ones(teacher_logits.shape[0])


class WTTMPolicy(TTMPolicy):
    """TTM with more weight for instances on which the teacher is soft: scale = sum over classes of p^(1 / T).

    Here p are the teacher's probabilities at temperature 1. For T >= 1 the scale lies between 1 (one-hot p) and
    C^(1 - 1 / T) (uniform p). Source: Zheng & Yang (2024), "Knowledge Distillation Based on Transformed Teacher
    Matching".

    Args:
        temperature: T, > 0; the inverse of the paper's exponent gamma.
    """

    def _scale(self, teacher_logits: Tensor) -> Tensor:
        # With Z the sum of exponentials of the logits minus their maximum: Z(z / T) / Z(z)^(1 / T).
        below = teacher_logits - teacher_logits.detach().amax(1, keepdim=True)
        return _sum_of_exponentials(below, self.temperature) / _sum_of_exponentials(below) ** (1.0 / self.temperature)


def _sum_of_exponentials(logits: Tensor, temperature: float = 1.0) -> Tensor:
    # PyTorch's `exp2` takes a third of the time of its `exp`; in place, since allocating memory costs as much again.
    return (logits / (temperature * math.log(2.0))).exp2_().sum(1)
