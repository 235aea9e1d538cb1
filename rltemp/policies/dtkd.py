"""Dynamic temperature (Wei & Bai, 2024): the sharper network gets the higher temperature."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.checks import check_number
from rltemp.policies.base import TemperaturePolicy
from rltemp.policies.statistics import logit_max_and_mean
from rltemp.temperatures import Temperatures

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
        m_t, mean_t = logit_max_and_mean(teacher_logits)
        m_s, mean_s = logit_max_and_mean(student_logits)
        defined = (m_t.sign() * m_s.sign() > 0) & ((m_t + m_s).abs() > _SMALLEST_LOGIT)
        m_t = torch.where(defined, m_t, m_t - mean_t)
        m_s = torch.where(defined, m_s, m_s - mean_s)
        flat = (m_t + m_s).abs() <= _SMALLEST_LOGIT
        m_t, m_s = torch.where(flat, 1.0, m_t), torch.where(flat, 1.0, m_s)
        teacher, student = (
            2.0 * self.temperature * (m / (m_t + m_s)).clamp(_SMALLEST_SHARE, 1.0 - _SMALLEST_SHARE) for m in (m_t, m_s)
        )
        return Temperatures(teacher, student, scale=teacher * student)
