"""What an objective is to a criterion."""

from typing import Protocol

from torch import Tensor

from rltemp.temperatures import Temperatures

__all__ = ["Objective"]


class Objective(Protocol):
    """A distillation loss per instance.

    Called with student_logits [B, C], teacher_logits [B, C], targets [B] or None, and temperatures of B instances;
    returns [B].
    """

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        """The loss per instance."""
