"""The whole loss of a distillation run as one module, which is trained, saved, and resumed with the student."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from rltemp.checks import check_mask, check_targets, values_are_readable
from rltemp.errors import InputError
from rltemp.features import positions_in
from rltemp.objectives.kd import KD
from rltemp.objectives.method import Method, Terms
from rltemp.objectives.objective import Objective
from rltemp.policies.policy import TemperaturePolicy
from rltemp.precision import without_autocast, working_precision
from rltemp.temperatures import Temperatures

__all__ = ["DistillationLoss", "LossParts", "labels_and_counts"]


@dataclasses.dataclass(frozen=True)
class LossParts:
    """The loss of a batch and its weighted parts, each a scalar in nats.

    Attributes:
        total: sum of the three parts, to call `backward` on.
        ce: cross-entropy with the labels, times its weight.
        kd: distillation term, times its weight and warm-up.
        plain_kd: plain KD term at a fixed temperature, times its weight and warm-up.
        temperatures: of the N instances, as the policy chose them.
    """

    total: Tensor
    ce: Tensor
    kd: Tensor
    plain_kd: Tensor
    temperatures: Temperatures


class DistillationLoss(nn.Module):
    """The mean loss of a `Method` over the instances of a batch, at the temperatures that a policy chooses.

    The loss is ce_weight CE + w(progress) (kd_weight objective + plain_weight KD at plain_temperature), where w rises
    linearly from 0 to 1 over the warm-up. A policy with parameters is part of this module: pass `parameters()` to the
    student's optimizer, save `state_dict()` with the student, and wrap the module like the student for distributed
    training, so that all ranks have the same temperatures.

    Args:
        policy: chooses the temperatures.
        objective: `KD()`, `DKD(...)`, or any `Objective`; by default `KD()`.
        ce_weight: weight of the cross-entropy, >= 0; at 0, labels are not needed.
        kd_weight: weight of the distillation term, >= 0.
        warmup: share of the run, in [0, 1], over which both distillation terms fade in.
        plain_weight: weight of an additional KD term at a fixed temperature (DTKD has one), >= 0.
        plain_temperature: temperature of that additional term, > 0.
        ignore_index: target of instances that are left out of the mean.

    Attributes:
        method: weights, objective, and warm-up.
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
        """The mean loss of a batch, a scalar in nats.

        Args:
            student_logits: [..., C].
            teacher_logits: [..., C].
            targets: [...] class indices, or `ignore_index`; required by a `ce_weight` > 0, and by some policies and
                objectives.
            progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [].
            alignment: [..., A], required by some policies.
            mask: [...] bool, False for instances that are left out of the mean.

        Raises:
            InputError: for inputs that policy or objective refuse, or missing targets.
        """
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
        """The mean loss of a batch and its parts.

        Dense predictions, such as tokens [sentences, positions, C], are flattened to N instances.

        Args:
            student_logits: [..., C].
            teacher_logits: [..., C].
            targets: [...] class indices, or `ignore_index`; required by a `ce_weight` > 0, and by some policies and
                objectives.
            progress: share of the run that is done, in [0, 1]; a number or a tensor of shape []. With epoch / epochs,
                counted from 1, warm-ups are the staircases of the papers.
            alignment: [..., A], required by some policies.
            mask: [...] bool, False for instances that are left out of the mean.

        Raises:
            InputError: for inputs that policy or objective refuse, or missing targets.
        """
        student, teacher = _flatten_logits(student_logits, teacher_logits)
        shape = student_logits.shape[:-1]
        labels, counts = labels_and_counts(targets, mask, shape, student.shape[1], self.ignore_index)
        if labels is None and self.method.ce_weight > 0.0:
            raise InputError("targets must be given where ce_weight is > 0, got None")
        aligned = None if alignment is None else alignment.flatten(0, -2)
        with without_autocast(student):
            student, teacher = working_precision(student, teacher)
            position = positions_in(shape, student.device) if "position" in self.policy.needs else None
            temperatures: Temperatures = self.policy(student, teacher, labels, progress, aligned, counts, position)
            return self._weighted(
                self.method.terms(student, teacher, labels, temperatures), counts, progress, temperatures
            )

    def _weighted(
        self, terms: Terms, counts: Tensor | None, progress: float | Tensor, temperatures: Temperatures
    ) -> LossParts:
        """Means over the instances that count, [N] bool (None: all), times weights and warm-up."""
        method, fade = self.method, self.method.fade(progress)
        kd = fade * method.kd_weight * _mean(terms.kd, counts)
        ce = plain = kd.new_zeros(())
        if terms.ce is not None:
            ce = method.ce_weight * _mean(terms.ce, counts)
        if terms.plain is not None:
            plain = fade * method.plain_weight * _mean(terms.plain, counts)
        return LossParts(ce + kd + plain, ce, kd, plain, temperatures)


def labels_and_counts(
    targets: Tensor | None, mask: Tensor | None, shape: torch.Size, classes: int, ignore_index: int
) -> tuple[Tensor | None, Tensor | None]:
    """Targets [N] that are all class indices, and which of the N instances count, [N] bool (None: all).

    Args:
        targets: [...] class indices, or `ignore_index`, or None.
        mask: [...] bool, False for instances that do not count, or None.
        shape: what [...] stands for, N in all.
        classes: number of classes C.
        ignore_index: target of instances that do not count.

    Raises:
        InputError: for other shapes, a mask of another dtype, or targets that are no class indices.
    """
    if mask is not None:
        check_mask(mask, shape)
        mask = mask.flatten()
    if targets is None:
        return None, mask
    if targets.shape != shape:
        raise InputError(f"targets must have shape {list(shape)}, got {list(targets.shape)}")
    labels = targets.flatten()
    ignored = labels == ignore_index
    if values_are_readable(ignored) and mask is None and not bool(ignored.any()):
        return labels, None
    labels = torch.where(ignored, 0, labels)
    check_targets(labels, shape.numel(), classes)
    return labels, ~ignored if mask is None else mask & ~ignored


def _flatten_logits(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    if student_logits.ndim < 2 or student_logits.shape[:-1] != teacher_logits.shape[:-1]:
        raise InputError(
            "student_logits and teacher_logits must have shapes [..., C] that agree in all but C, "
            f"got {list(student_logits.shape)} and {list(teacher_logits.shape)}"
        )
    return student_logits.flatten(0, -2), teacher_logits.flatten(0, -2)


def _mean(losses: Tensor, counts: Tensor | None) -> Tensor:
    """Mean of losses [N] over the instances that count, [N] bool (None: all); 0 if none counts."""
    if counts is None:
        return losses.mean()
    return torch.where(counts, losses, 0.0).sum() / counts.sum().clamp(min=1)
