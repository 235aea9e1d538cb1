"""Rules that compare an instance with the rest of its batch."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures

__all__ = ["OverBatchPolicy"]


class OverBatchPolicy(TemperaturePolicy):
    """A rule in two parts: a mark for every instance by itself, then temperatures from the marks of those that count.

    The marks are all that crosses from one instance to another: logits too large for memory are marked in chunks.
    """

    over_batch = True

    @abstractmethod
    def mark(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """The mark, [B], of each of B instances from checked logits [B, C], without gradient."""

    @abstractmethod
    def answer(self, marks: Tensor, progress: float | Tensor, mask: Tensor | None) -> Temperatures:
        """Temperatures of B instances.

        Args:
            marks: [B].
            progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [] or [B].
            mask: [B] bool, which marks count for the others'; None for all.
        """

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """Temperatures of B instances, which all count."""
        return self.answer(self.mark(student_logits, teacher_logits), progress, None)

    def choose_among(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
        mask: Tensor,
    ) -> Temperatures:
        """Temperatures of B instances, of which those of `mask`, [B] bool, count."""
        return self.answer(self.mark(student_logits, teacher_logits), progress, mask)
