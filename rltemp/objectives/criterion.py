"""The whole loss of a distillation run, as one module that is trained, saved and resumed with the student."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from rltemp.checks import check_targets, values_are_readable
from rltemp.errors import InputError
from rltemp.objectives.kd import KD
from rltemp.objectives.method import Method, Terms
from rltemp.objectives.objective import Objective
from rltemp.policies.policy import TemperaturePolicy
from rltemp.precision import without_autocast, working_precision
from rltemp.temperatures import Temperatures

__all__ = ["DistillationLoss", "LossParts"]


@dataclasses.dataclass(frozen=True)
class LossParts:
    """A loss and what it is made of, all scalars, weighted.

    Attributes:
        total: what to call `backward` on.
        ce: cross-entropy with the labels.
        kd: the distillation term.
        plain_kd: the plain distillation term beside it.
        temperatures: of the N instances, as chosen.
    """

    total: Tensor
    ce: Tensor
    kd: Tensor
    plain_kd: Tensor
    temperatures: Temperatures


class DistillationLoss(nn.Module):
    """The mean loss of a `Method` over the instances of a batch, at the temperatures that a policy chooses.

    ce_weight CE + w(progress) (kd_weight objective + plain_weight KD at plain_temperature), where w rises linearly from
    0 to 1 over the warm-up. A policy with parameters is part of this
    module: hand `parameters()` to the student's optimizer, save `state_dict()` with the student, and wrap it like the
    student for distributed training, so that its temperatures stay the same on all ranks.

    Args:
        policy: chooses the temperatures.
        objective: `KD()`, `DKD(...)` or any `Objective`.
        ce_weight: weight of the cross-entropy, >= 0; at 0, labels are not needed.
        kd_weight: weight of the distillation term, >= 0.
        warmup: share of the run, in [0, 1], over which distillation fades in.
        plain_weight: weight of a plain KD term beside it (DTKD has one), >= 0.
        plain_temperature: temperature of that term, > 0.
        ignore_index: a target that marks an instance which does not count.

    Attributes:
        method: weights, objective and warm-up.
    """

    def __init__(
        self,
        policy: TemperaturePolicy,
        objective: Objective | None = None,
        ce_weight: float = 0.1,
        kd_weight: float = 0.9,
        *,
        warmup: float = 0.0,
        plain_weight: float = 0.0,
        plain_temperature: float = 4.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.method = Method(
            KD() if objective is None else objective, ce_weight, kd_weight, warmup, plain_weight, plain_temperature
        )
        self.ignore_index = ignore_index

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None = None,
        progress: float | Tensor = 0.0,
        alignment: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The loss, a scalar in nats; see `parts`."""
        return self.parts(student_logits, teacher_logits, targets, progress, alignment, mask).total

    def parts(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None = None,
        progress: float | Tensor = 0.0,
        alignment: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> LossParts:
        """The loss and its parts.

        Dense predictions, such as tokens [sentences, positions, C], are flattened to N instances; classes come last.

        Args:
            student_logits: [..., C].
            teacher_logits: [..., C].
            targets: [...] class indices, or `ignore_index` where an instance does not count.
            progress: how far the run is, in [0, 1], a number or a tensor of shape []. With epoch / epochs, epochs from
                1, warm-ups are the papers' staircases.
            alignment: [..., A] for a policy that needs it.
            mask: [...] bool, True for instances that count.

        Raises:
            InputError: as the policy and the objective do, and for targets missing where they are needed.
        """
        student, teacher = _flatten_logits(student_logits, teacher_logits)
        shape = student_logits.shape[:-1]
        labels, counts = self._labels(targets, mask, shape, student)
        if labels is None and self.method.ce_weight > 0.0:
            raise InputError("targets must be given where ce_weight is > 0, got None")
        aligned = None if alignment is None else alignment.flatten(0, -2)
        with without_autocast(student):
            student, teacher = working_precision(student, teacher)
            temperatures: Temperatures = self.policy(student, teacher, labels, progress, aligned)
            return self._weighted(
                self.method.terms(student, teacher, labels, temperatures), counts, progress, temperatures
            )

    def _weighted(
        self, terms: Terms, counts: Tensor | None, progress: float | Tensor, temperatures: Temperatures
    ) -> LossParts:
        """Weighted means over the instances that count."""
        method, fade = self.method, self.method.fade(progress)
        kd = fade * method.kd_weight * _mean(terms.kd, counts)
        ce = plain = kd.new_zeros(())
        if terms.ce is not None:
            ce = method.ce_weight * _mean(terms.ce, counts)
        if terms.plain is not None:
            plain = fade * method.plain_weight * _mean(terms.plain, counts)
        return LossParts(ce + kd + plain, ce, kd, plain, temperatures)

    def _labels(
        self, targets: Tensor | None, mask: Tensor | None, shape: torch.Size, student: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Targets [N] that are all classes, and which of the N instances count (None: all of them)."""
        if mask is not None:
            if mask.shape != shape or mask.dtype != torch.bool:
                raise InputError(f"mask must be bool of shape {list(shape)}, got {mask.dtype} of {list(mask.shape)}")
            mask = mask.flatten()
        if targets is None:
            return None, mask
        if targets.shape != shape:
            raise InputError(f"targets must have shape {list(shape)}, got {list(targets.shape)}")
        labels = targets.flatten()
        ignored = labels == self.ignore_index
        if values_are_readable(ignored) and mask is None and not bool(ignored.any()):
            return labels, None
        labels = torch.where(ignored, 0, labels)
        check_targets(labels, *student.shape)
        return labels, ~ignored if mask is None else mask & ~ignored


def _flatten_logits(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    if student_logits.ndim < 2 or student_logits.shape[:-1] != teacher_logits.shape[:-1]:
        raise InputError(
            "student_logits and teacher_logits must have shapes [..., C] that agree in all but C, "
            f"got {list(student_logits.shape)} and {list(teacher_logits.shape)}"
        )
    return student_logits.flatten(0, -2), teacher_logits.flatten(0, -2)


def _mean(losses: Tensor, counts: Tensor | None) -> Tensor:
    """Mean over the instances that count; 0 if none does."""
    if counts is None:
        return losses.mean()
    return torch.where(counts, losses, 0.0).sum() / counts.sum().clamp(min=1)
