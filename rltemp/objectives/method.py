"""What a run minimizes once the temperatures are chosen."""

from __future__ import annotations

import dataclasses

import torch.nn.functional as F
from torch import Tensor

from rltemp.objectives import DKD, KD, Objective, kd_loss
from rltemp.presets import Preset
from rltemp.recipes.schema import Optimization
from rltemp.temperatures import Temperatures

__all__ = ["Method"]


@dataclasses.dataclass(frozen=True)
class Method:
    """ce_weight CE + w(progress) (kd_weight objective + plain_weight KD at T = 4), per instance.

    The same sum as `DistillationLoss`, for temperatures that come from outside and students that do not share a mean.

    Attributes:
        objective: the distillation term.
        ce_weight: weight of the cross-entropy with the labels.
        kd_weight: weight of the distillation term.
        plain_weight: weight of a plain KD term beside it.
        warmup: share of the run over which w rises from 0 to 1.
    """

    objective: Objective
    ce_weight: float
    kd_weight: float
    plain_weight: float = 0.0
    warmup: float = 0.0

    @classmethod
    def of(cls, settings: Optimization) -> Method:
        """The method that a recipe's optimization names."""
        objective: Objective = DKD() if settings.objective == "dkd" else KD()
        return cls(objective, settings.ce_weight, settings.kd_weight)

    @classmethod
    def of_preset(cls, preset: Preset) -> Method:
        """The method of a paper."""
        return cls(preset.objective, preset.ce_weight, preset.kd_weight, preset.plain_weight, preset.warmup)

    def losses(
        self, student: Tensor, teacher: Tensor, targets: Tensor, temperatures: Temperatures, progress: float
    ) -> Tensor:
        """Losses [N] of logits [N, C]."""
        distillation = self.kd_weight * self.objective(student, teacher, targets, temperatures)
        if self.plain_weight:
            plain = Temperatures.shared(student.new_full((len(student),), 4.0))
            distillation = distillation + self.plain_weight * kd_loss(student, teacher, plain)
        fade = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        return self.ce_weight * F.cross_entropy(student, targets, reduction="none") + fade * distillation
