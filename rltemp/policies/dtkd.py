"""Dynamic temperature (Wei & Bai, 2024): the sharper network gets the higher temperature."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rltemp.checks import check_number
from rltemp.policies.base import TemperaturePolicy
from rltemp.policies.statistics import max_gradient
from rltemp.temperatures import Temperatures
from rltemp.transforms import is_transformed

__all__ = ["DTKDPolicy"]

_SMALLEST_SHARE = 1e-6
_SMALLEST_LOGIT = 1e-12


class DTKDPolicy(TemperaturePolicy):
    """Temperatures in proportion to the largest logits: T_t = 2 tau m_t / (m_t + m_s), T_s = 2 tau m_s / (m_t + m_s).

    With m = max of the logits; scale T_t T_s; the gradient flows through all three. Where m_t and m_s differ in sign or
    one is 0, the published formula gives a negative, zero or unbounded temperature: there m is taken above the mean of
    the logits, each temperature is at least 2e-6 tau, and both are tau where no logit stands out.
    Source: Wei & Bai (2024), "Dynamic Temperature Knowledge Distillation".

    Args:
        temperature: tau, the mean of the two temperatures, > 0.
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
        """Shares of 2 tau."""
        if is_transformed():
            teacher, student = _textbook(teacher_logits, student_logits, self.temperature)
        else:
            teacher, student = _SharedOut.apply(teacher_logits, student_logits, self.temperature)
        return Temperatures(teacher, student, scale=teacher * student)


def _textbook(teacher_logits: Tensor, student_logits: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    maxima = teacher_logits.amax(1), student_logits.amax(1)
    m_t, m_s, _, _ = _sizes(*maxima, teacher_logits.mean(1), student_logits.mean(1))
    return _temperatures(m_t, m_s, tau)


def _sizes(m_t: Tensor, m_s: Tensor, mean_t: Tensor, mean_s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the temperatures are in proportion to, teacher first; where that is the published m; where nothing is."""
    published = (m_t.sign() * m_s.sign() > 0) & ((m_t + m_s).abs() > _SMALLEST_LOGIT)
    m_t, m_s = torch.where(published, m_t, m_t - mean_t), torch.where(published, m_s, m_s - mean_s)
    flat = (m_t + m_s).abs() <= _SMALLEST_LOGIT
    return torch.where(flat, 1.0, m_t), torch.where(flat, 1.0, m_s), published, flat


def _temperatures(m_t: Tensor, m_s: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    unit = 2.0 * tau / (m_t + m_s)
    low, high = 2.0 * tau * _SMALLEST_SHARE, 2.0 * tau * (1.0 - _SMALLEST_SHARE)
    return (unit * m_t).clamp(low, high), (unit * m_s).clamp(low, high)


class _SharedOut(torch.autograd.Function):
    """`_textbook`, with dT_s / dm_s = 2 tau m_t / (m_t + m_s)^2 and its like written out: they are the rule's cost."""

    @staticmethod
    def forward(ctx: Any, teacher_logits: Tensor, student_logits: Tensor, tau: float) -> tuple[Tensor, Tensor]:
        maxima = teacher_logits.amax(1), student_logits.amax(1)
        m_t, m_s, published, flat = _sizes(*maxima, teacher_logits.mean(1), student_logits.mean(1))
        teacher, student = _temperatures(m_t, m_s, tau)
        smallest = 2.0 * tau * _SMALLEST_SHARE
        moves = (torch.minimum(teacher, student) > smallest).logical_and_(~flat)
        slope = torch.where(moves, 2.0 * tau / (m_t + m_s).square(), 0.0)
        ctx.tau = tau
        ctx.save_for_backward(teacher_logits, student_logits, *maxima, slope * m_t, slope * m_s, published)
        return teacher, student

    @staticmethod
    def backward(ctx: Any, by_teacher: Tensor, by_student: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        teacher_logits, student_logits, max_t, max_s, slope_s, slope_t, published = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _again(teacher_logits, student_logits, ctx.tau, (by_teacher, by_student), needs)
        by_share = by_student - by_teacher
        gradients: list[Tensor | None] = [None, None]
        for i, (logits, largest, by_max) in enumerate(
            ((teacher_logits, max_t, -by_share * slope_t), (student_logits, max_s, by_share * slope_s))
        ):
            if needs[i]:
                gradients[i] = max_gradient(logits, largest, by_max, torch.where(published, 0.0, -by_max))
        return gradients[0], gradients[1], None


def _again(
    teacher_logits: Tensor, student_logits: Tensor, tau: float, grads: tuple[Tensor, Tensor], needs: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None, None]:
    """The gradient as a graph, for second derivatives."""
    wanted = [x for x, need in zip((teacher_logits, student_logits), needs, strict=False) if need]
    temperatures = _textbook(teacher_logits, student_logits, tau)
    gradients = iter(torch.autograd.grad(temperatures, wanted, grads, create_graph=True))
    return next(gradients) if needs[0] else None, next(gradients) if needs[1] else None, None
