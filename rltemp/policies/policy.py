"""The base class of all temperature policies."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rltemp.checks import check_finite, check_logits, check_mask, check_targets, values_are_readable
from rltemp.errors import InputError
from rltemp.precision import without_autocast, working_precision
from rltemp.temperatures import Temperatures

__all__ = ["TemperaturePolicy", "check_progress"]


class TemperaturePolicy(nn.Module, ABC):
    """Chooses the temperatures of every instance of a batch.

    A policy is an `nn.Module`: the parameters of a rule, if any, are trained by the student's own optimizer and saved
    by `state_dict()`. A call checks the input and passes it to `choose`, which sub-classes define.

    Attributes:
        needs: which of the optional inputs "targets", "alignment" and "position" the policy requires.
        generator: what a random policy draws from; None for all others.
        over_batch: whether an instance's temperatures depend on the rest of its batch. Whoever has several students
            must then ask for one student's batch at a time.
        weighs_labels: whether its `Temperatures` have a `label_weight`, which the loss of the labels must heed.
    """

    needs: frozenset[str] = frozenset()
    generator: torch.Generator | None = None
    over_batch: bool = False
    weighs_labels: bool = False

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None = None,
        progress: float | Tensor = 0.0,
        alignment: Tensor | None = None,
        mask: Tensor | None = None,
        position: Tensor | None = None,
    ) -> Temperatures:
        """Temperatures for one batch.

        Args:
            student_logits: [B, C], the student's raw logits.
            teacher_logits: [B, C], the teacher's raw logits.
            targets: [B] class indices; required if "targets" is in `needs`.
            progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [] or [B].
            alignment: [B, A] from `ProbeAlignment`; required if "alignment" is in `needs`.
            mask: [B] bool, False for instances, such as padding, that must not influence those of others; only rules
                that look over their batch ask for it. Masked instances get temperatures as well.
            position: [B] in [0, 1], of a token in its window; required if "position" is in `needs`.

        Returns:
            Temperatures of B instances, float32 or float64; half precision is widened to float32.

        Raises:
            InputError: for wrong shapes, unequal class counts, NaN or infinite logits, a missing input.
        """
        check_logits(student_logits, teacher_logits)
        batch, classes = student_logits.shape
        if targets is not None:
            check_targets(targets, batch, classes)
        if alignment is not None:
            _check_alignment(alignment, batch)
        if mask is not None:
            check_mask(mask, torch.Size([batch]))
        if position is not None and position.shape != (batch,):
            raise InputError(f"position must have shape [{batch}], got {list(position.shape)}")
        check_progress(progress, batch)
        for name, value in (("targets", targets), ("alignment", alignment), ("position", position)):
            if value is None and name in self.needs:
                raise InputError(f"{type(self).__name__} needs {name}, got None")
        with without_autocast(student_logits):
            student_logits, teacher_logits = working_precision(student_logits, teacher_logits)
            return self._decide(student_logits, teacher_logits, targets, progress, alignment, mask, position)

    def _decide(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
        mask: Tensor | None,
        position: Tensor | None,
    ) -> Temperatures:
        """Choose from checked input; no rule looks at the position."""
        if mask is not None:
            return self.choose_among(student_logits, teacher_logits, targets, progress, alignment, mask)
        return self.choose(student_logits, teacher_logits, targets, progress, alignment)

    @abstractmethod
    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """Choose the temperatures of B instances from checked input, outside autocast; sub-classes define the rule.

        Args:
            student_logits: [B, C], float32 or float64.
            teacher_logits: [B, C], of the same dtype.
            targets: [B] class indices; None only if "targets" is not in `needs`.
            progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [] or [B].
            alignment: [B, A] from `ProbeAlignment`; None only if "alignment" is not in `needs`.
        """

    def choose_among(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
        mask: Tensor,
    ) -> Temperatures:
        """Choose as `choose` does where only the instances of `mask`, [B] bool, count.

        A rule that takes each instance by itself has nothing to define here.
        """
        return self.choose(student_logits, teacher_logits, targets, progress, alignment)


def check_progress(progress: float | Tensor, batch: int) -> None:
    """Raise `InputError` unless `progress` is a number, or a tensor of shape [] or [batch], in [0, 1]."""
    if isinstance(progress, Tensor):
        if progress.ndim > 1 or (progress.ndim == 1 and progress.shape[0] != batch):
            raise InputError(f"progress must be a number or have shape [] or [{batch}], got {list(progress.shape)}")
        inside = not values_are_readable(progress) or bool(((progress >= 0) & (progress <= 1)).all())
    else:
        inside = 0.0 <= progress <= 1.0
    if not inside:
        raise InputError(f"progress must lie in [0, 1], got {progress}")


def _check_alignment(alignment: Tensor, batch: int) -> None:
    if alignment.ndim != 2 or alignment.shape[0] != batch:
        raise InputError(f"alignment must have shape [{batch}, A], got {list(alignment.shape)}")
    check_finite("alignment", alignment)
