"""The distillation loss of Hinton et al. (2015), with temperatures per instance."""

from __future__ import annotations

import dataclasses
import math

from torch import Tensor

from rltemp.checks import check_finite, check_logit_shapes, values_are_readable
from rltemp.errors import InputError
from rltemp.objectives.divergence import softened_kl
from rltemp.precision import without_autocast, working_precision
from rltemp.temperatures import Temperatures

__all__ = ["KD", "check_temperatures", "kd_loss", "name_bad_logits"]


@dataclasses.dataclass(frozen=True)
class KD:
    """Plain distillation (`kd_loss`) as an objective; it ignores targets."""

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        """Distillation loss per instance, [B], in nats, of logits [B, C].

        Raises:
            InputError: for logits and temperatures that do not fit together.
        """
        return kd_loss(student_logits, teacher_logits, temperatures)


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperatures: Temperatures) -> Tensor:
    """Distillation loss per instance: scale * KL(softmax(teacher_logits / T_t) || softmax(student_logits / T_s)).

    Source: Hinton et al. (2015), "Distilling the Knowledge in a Neural Network", section 2.

    Args:
        student_logits: [B, C], raw; float16 and bfloat16 are computed in float32.
        teacher_logits: [B, C], raw.
        temperatures: of B instances.

    Returns:
        [B], in nats, >= 0 up to rounding.

    Raises:
        InputError: for wrong shapes, unequal class counts, NaN or infinite logits, or temperatures of another batch.
    """
    check_logit_shapes(student_logits, teacher_logits)
    check_temperatures(temperatures, student_logits.shape[0])
    with without_autocast(student_logits):
        student_logits, teacher_logits = working_precision(student_logits, teacher_logits)
        losses = _kd_loss(student_logits, teacher_logits, temperatures.to(student_logits.dtype))
    name_bad_logits(losses, student_logits, teacher_logits)
    return losses


def name_bad_logits(losses: Tensor, student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Raise `InputError` if losses [B] are not finite because logits [B, C] are not.

    A NaN or infinite logit makes its instance's loss NaN or infinite: B values to read instead of 2 B C.
    """
    if values_are_readable(losses) and not math.isfinite(losses.detach().sum().item()):
        check_finite("student_logits", student_logits)
        check_finite("teacher_logits", teacher_logits)


def check_temperatures(temperatures: Temperatures, batch: int) -> None:
    """Raise `InputError` unless `temperatures` are `Temperatures` of `batch` instances."""
    if not isinstance(temperatures, Temperatures):
        raise InputError(
            f"temperatures must be Temperatures (see Temperatures.shared), got {type(temperatures).__name__}"
        )
    if len(temperatures) != batch:
        raise InputError(f"temperatures must be of {batch} instances, as the logits are, got {len(temperatures)}")


def _kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperatures: Temperatures) -> Tensor:
    return softened_kl(student_logits, teacher_logits, temperatures.student, temperatures.teacher, temperatures.scale)
