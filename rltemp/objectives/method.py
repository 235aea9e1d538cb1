"""The loss that a run minimizes at given temperatures, shared by presets, runs, and the criterion."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from torch import Tensor

from rltemp.checks import check_number
from rltemp.objectives.dkd import DKD
from rltemp.objectives.kd import KD, kd_loss
from rltemp.objectives.objective import Objective
from rltemp.recipes.schema import Optimization
from rltemp.softmax import cross_entropies
from rltemp.temperatures import Temperatures

__all__ = ["Method", "Terms"]


class Terms(NamedTuple):
    """Unweighted terms of a method's loss per instance, in nats: [N] each, or None where the weight is 0.

    Attributes:
        kd: the distillation term.
        plain: KD at a fixed temperature.
        ce: cross-entropy with the labels, times `Temperatures.label_weight`; None without labels as well.
    """

    kd: Tensor
    plain: Tensor | None
    ce: Tensor | None


@dataclasses.dataclass(frozen=True)
class Method:
    """The loss ce_weight CE + w(progress) (kd_weight objective + plain_weight KD at plain_temperature), per instance.

    Attributes:
        objective: the distillation term, `KD()`, `DKD(...)`, or any `Objective`.
        ce_weight: weight of the cross-entropy with the labels, >= 0; at 0, labels are not needed.
        kd_weight: weight of the distillation term, >= 0.
        warmup: share of the run, in [0, 1], over which w rises linearly from 0 to 1.
        plain_weight: weight of an additional KD term at a fixed temperature (DTKD has one), >= 0.
        plain_temperature: temperature of that additional term, > 0.
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
        """The method that the optimization settings of a recipe describe: its objective and two weights."""
        objective: Objective = DKD() if settings.objective == "dkd" else KD()
        return cls(objective, settings.ce_weight, settings.kd_weight)

    def terms(self, student: Tensor, teacher: Tensor, targets: Tensor | None, temperatures: Temperatures) -> Terms:
        """Unweighted terms of the loss per instance; without targets there is no cross-entropy.

        Args:
            student: the student's logits, [N, C].
            teacher: the teacher's logits, [N, C].
            targets: [N] class indices, or None.
            temperatures: of N instances.
        """
        kd = self.objective(student, teacher, targets, temperatures)
        plain = ce = None
        if self.plain_weight > 0.0:
            plain_temperatures = Temperatures.shared(student.new_full((len(student),), self.plain_temperature))
            plain = kd_loss(student, teacher, plain_temperatures)
        if self.ce_weight > 0.0 and targets is not None:
            ce = cross_entropies(student, targets)
            if temperatures.label_weight is not None:
                ce = temperatures.label_weight * ce
        return Terms(kd, plain, ce)

    def fade(self, progress: float | Tensor) -> float | Tensor:
        """Warm-up factor w(progress) in [0, 1]; a number for a number, and a tensor for a tensor."""
        if self.warmup == 0.0:
            return 1.0
        if isinstance(progress, Tensor):
            return (progress / self.warmup).clamp(max=1.0)
        return min(progress / self.warmup, 1.0)

    def losses(
        self,
        student: Tensor,
        teacher: Tensor,
        targets: Tensor | None,
        temperatures: Temperatures,
        progress: float | Tensor,
    ) -> Tensor:
        """Weighted loss per instance, [N], in nats; without targets there is no cross-entropy.

        Args:
            student: the student's logits, [N, C].
            teacher: the teacher's logits, [N, C].
            targets: [N] class indices, or None.
            temperatures: of N instances.
            progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [].
        """
        terms = self.terms(student, teacher, targets, temperatures)
        distillation = self.kd_weight * terms.kd
        if terms.plain is not None:
            distillation = distillation + self.plain_weight * terms.plain
        distillation = self.fade(progress) * distillation
        return distillation if terms.ce is None else self.ce_weight * terms.ce + distillation
