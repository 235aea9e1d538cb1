"""Rules that divide the logits by their own spread: NormKD (Chi et al., 2023) and LSKD (Sun et al., CVPR 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.checks import check_number
from rltemp.policies.logit_statistics import logit_std
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures

__all__ = ["LSKDPolicy", "NormKDPolicy"]


class NormKDPolicy(TemperaturePolicy):
    """Temperatures in proportion to the spread of the logits: T_t = n std(z_t), T_s = n std(z_s), scale T_t^2.

    The standard deviation is over the classes with ddof = 1, and the gradient flows through it. Constant logits count
    as of deviation 1, so that T = n. Source: Chi et al. (2023), "NormKD: Normalized Logits for Knowledge Distillation".

    Args:
        norm: n, > 0; the paper takes 2 on CIFAR-100 and 1 on ImageNet.
    """

    def __init__(self, norm: float = 2.0) -> None:
        super().__init__()
        self.norm = check_number("norm", norm, low=0.0, low_open=True)

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """Standard deviations of the logits times n, as temperatures [B] of teacher and student."""
        teacher, student = logit_std(teacher_logits, self.norm), logit_std(student_logits, self.norm)
        return Temperatures(teacher, student, scale=teacher * teacher)


class LSKDPolicy(TemperaturePolicy):
    """Logits standardized to mean 0 and deviation 1, then softened by T: T_t = T std(z_t), T_s = T std(z_s), scale T^2.

    A softmax does not depend on the mean, so that dividing by the deviation (ddof = 1, with its gradient) is the whole
    standardization. Constant logits count as of deviation 1, so that their temperature is T. Source: Sun et al. (2024),
    "Logit Standardization in Knowledge Distillation".

    Args:
        temperature: T, > 0.
    """

    def __init__(self, temperature: float = 2.0) -> None:
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
        """Standard deviations of the logits times T, as temperatures [B]; the scale is T^2 without them."""
        teacher, student = logit_std(teacher_logits, self.temperature), logit_std(student_logits, self.temperature)
        return Temperatures(teacher, student, scale=torch.full_like(teacher, self.temperature**2))
