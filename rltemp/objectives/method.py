"""What a run minimizes once the temperatures are chosen: shared by presets, runs and the criterion."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from rltemp.checks import check_number
from rltemp.objectives.dkd import DKD
from rltemp.objectives.kd import KD, kd_loss
from rltemp.objectives.objective import Objective
from rltemp.recipes.schema import Optimization
from rltemp.temperatures import Temperatures

__all__ = ["Method", "Terms"]


class Terms(NamedTuple):
    """What a method sums up, without weights: [N] each, None where its weight is 0."""

    kd: Tensor
    plain: Tensor | None
    ce: Tensor | None


@dataclasses.dataclass(frozen=True)
class Method:
    """ce_weight CE + w(progress) (kd_weight objective + plain_weight KD at plain_temperature), per instance.

    Attributes:
        objective: the distillation term, `KD()`, `DKD(...)` or any `Objective`.
        ce_weight: weight of the cross-entropy with the labels, >= 0; at 0, labels are not needed.
        kd_weight: weight of the distillation term, >= 0.
        warmup: share of the run, in [0, 1], over which w rises linearly from 0 to 1.
        plain_weight: weight of a plain KD term beside it (DTKD has one), >= 0.
        plain_temperature: temperature of that term, > 0.
    """

    objective: Objective = dataclasses.field(default_factory=KD)
    ce_weight: float = 0.1
    kd_weight: float = 0.9
    warmup: float = 0.0
    plain_weight: float = 0.0
    plain_temperature: float = 4.0

    def __post_init__(self) -> None:
        check_number("ce_weight", self.ce_weight, low=0.0)
        check_number("kd_weight", self.kd_weight, low=0.0)
        check_number("warmup", self.warmup, low=0.0, high=1.0)
        check_number("plain_weight", self.plain_weight, low=0.0)
        check_number("plain_temperature", self.plain_temperature, low=0.0, low_open=True)

    @classmethod
    def of(cls, settings: Optimization) -> Method:
        """The method that a recipe's optimization names."""
        objective: Objective = DKD() if settings.objective == "dkd" else KD()
        return cls(objective, settings.ce_weight, settings.kd_weight)

    def terms(self, student: Tensor, teacher: Tensor, targets: Tensor | None, temperatures: Temperatures) -> Terms:
        """The terms of logits [N, C] and targets [N]; without targets there is no cross-entropy."""
        kd = self.objective(student, teacher, targets, temperatures)
        plain = ce = None
        if self.plain_weight > 0.0:
            plain_temperatures = Temperatures.shared(student.new_full((len(student),), self.plain_temperature))
            plain = kd_loss(student, teacher, plain_temperatures)
        if self.ce_weight > 0.0 and targets is not None:
            ce = F.cross_entropy(student, targets, reduction="none")
        return Terms(kd, plain, ce)

    def fade(self, progress: float | Tensor) -> float | Tensor:
        """w(progress), in [0, 1]; a number for a number, a tensor for a tensor."""
        if self.warmup == 0.0:
            return 1.0
        if isinstance(progress, Tensor):
            return (progress / self.warmup).clamp(max=1.0)
        return min(progress / self.warmup, 1.0)

    def losses(
        self, student: Tensor, teacher: Tensor, targets: Tensor, temperatures: Temperatures, progress: float
    ) -> Tensor:
        """Losses [N] of logits [N, C]."""
        terms = self.terms(student, teacher, targets, temperatures)
        distillation = self.kd_weight * terms.kd
        if terms.plain is not None:
            distillation = distillation + self.plain_weight * terms.plain
        distillation = self.fade(progress) * distillation
        return distillation if terms.ce is None else self.ce_weight * terms.ce + distillation
