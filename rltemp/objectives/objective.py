"""The protocol of a distillation objective."""

from typing import Protocol

from torch import Tensor

from rltemp.temperatures import Temperatures

__all__ = ["Objective"]


class Objective(Protocol):
    """A distillation loss per instance: any function of logits, targets, and temperatures."""

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        """Loss per instance, [B].

        Args:
            student_logits: [B, C], raw.
            teacher_logits: [B, C], raw.
            targets: [B] class indices, or None.
            temperatures: of B instances.
        """
