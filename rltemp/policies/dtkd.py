"""Dynamic temperature (Wei & Bai, 2024): the network with the larger maximal logit gets the higher temperature."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.checks import check_number, values_are_readable
from rltemp.policies.logit_statistics import logit_max
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures

__all__ = ["DTKDPolicy"]

_SMALLEST_SHARE = 1e-6
_SMALLEST_LOGIT = 1e-12


class DTKDPolicy(TemperaturePolicy):
    """Temperatures in proportion to the largest logits: T_t = 2 tau m_t / (m_t + m_s), T_s = 2 tau m_s / (m_t + m_s).

    Here m is the largest logit of the instance. The scale is T_t T_s, and the gradient flows through all three. Where
    m_t and m_s differ in sign or one is 0, the published formula gives a negative, zero, or unbounded temperature;
    there this project takes m above the mean of the logits, keeps each temperature >= 2e-6 tau, and sets both to tau
    for constant logits. Source: Wei & Bai (2024), "Dynamic Temperature Knowledge Distillation".

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
        """Temperatures of B instances that share 2 tau in proportion to the largest logits."""
        m_t, m_s = logit_max(teacher_logits), logit_max(student_logits)
        if not _is_usual(m_t, m_s):
            m_t, m_s = _mended(m_t, m_s, teacher_logits, student_logits)
        unit = 2.0 * self.temperature / (m_t + m_s)
        teacher, student = unit * m_t, unit * m_s
        return Temperatures(teacher, student, scale=teacher * student)


def _is_usual(m_t: Tensor, m_s: Tensor) -> bool:
    """Whether all maxima [B] are positive and of comparable size, so that the published formula is defined.

    False as well where the values cannot be read: on accelerators, and while tracing.
    """
    maxima = torch.stack((m_t, m_s)).detach()
    if not values_are_readable(maxima):
        return False
    low, high = (bound.item() for bound in maxima.aminmax())
    return low > max(_SMALLEST_LOGIT, 2.0 * _SMALLEST_SHARE * high)


def _mended(m_t: Tensor, m_s: Tensor, teacher_logits: Tensor, student_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Values [B] for teacher and student in proportion to which 2 tau is shared.

    They are the maxima wherever the published formula is defined, and this project's substitute elsewhere.
    """
    published = (m_t.sign() * m_s.sign() > 0) & ((m_t + m_s).abs() > _SMALLEST_LOGIT)
    m_t = torch.where(published, m_t, m_t - teacher_logits.mean(1))
    m_s = torch.where(published, m_s, m_s - student_logits.mean(1))
    flat = (m_t + m_s).abs() <= _SMALLEST_LOGIT
    m_t, m_s = torch.where(flat, 1.0, m_t), torch.where(flat, 1.0, m_s)
    total = m_t + m_s
    low, high = _SMALLEST_SHARE, 1.0 - _SMALLEST_SHARE
    return (m_t / total).clamp(low, high), (m_s / total).clamp(low, high)
