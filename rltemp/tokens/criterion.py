"""The whole loss of a distillation run from hidden states: policy, objective and labels in one pass over the chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.errors import InputError
from rltemp.objectives.criterion import DistillationLoss, labels_and_counts
from rltemp.policies.policy import check_progress
from rltemp.temperatures import Temperatures
from rltemp.tokens.head import Head, precision_of, two_heads
from rltemp.tokens.linear import choose_for_heads
from rltemp.tokens.walk import Work, weighted_sum

__all__ = ["linear_distillation_loss"]


def linear_distillation_loss(
    criterion: DistillationLoss,
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    targets: Tensor | None = None,
    progress: float | Tensor = 0.0,
    mask: Tensor | None = None,
    *,
    student_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """What `criterion` says of logits that are computed `chunk` tokens at a time, forward and backward.

    Gradients are computed along with the loss, which is a mean: no chunk is computed twice, but by policies that look
    over their batch. They flow to the student's hidden states, weight and bias, to what the policy learns, and through
    the temperatures where the rule lets them; not to the teacher, and there is no second derivative.

    Args:
        criterion: policy, objective and weights.
        student_hidden: [..., H].
        student_weight: [V, H].
        teacher_hidden: [..., H_t].
        teacher_weight: [V, H_t].
        targets: [...] class indices, or `criterion.ignore_index`; required by a `ce_weight` > 0, and by some policies
            and objectives.
        progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [].
        mask: [...] bool, False for tokens that are left out of the mean.
        student_bias: [V], or None.
        teacher_bias: [V], or None.
        chunk: tokens at once, >= 1; by default 256, or as many as have 2^22 logits.

    Returns:
        The mean loss of the tokens that count, a scalar in nats; 0 if none counts.

    Raises:
        InputError: for inputs that do not fit together, missing targets, or a policy that needs an alignment or cannot
            choose chunk by chunk.
    """
    student, teacher = two_heads(
        (student_hidden, student_weight, student_bias), (teacher_hidden, teacher_weight, teacher_bias)
    )
    labels, counts = labels_and_counts(
        targets, mask, student_hidden.shape[:-1], student.vocabulary, criterion.ignore_index
    )
    if labels is None and criterion.method.ce_weight > 0.0:
        raise InputError("targets must be given where ce_weight is > 0, got None")
    check_progress(progress, 1)
    dtype = precision_of(student.hidden, teacher.hidden)
    chosen = None
    if criterion.policy.over_batch and len(student):
        chosen = choose_for_heads(criterion.policy, student.detach(), teacher, labels, progress, counts, chunk)

    def losses(logits: Tensor, rows: slice) -> Tensor:
        taught, wanted = teacher.logits(rows, dtype), None if labels is None else labels[rows]
        temperatures = criterion.policy(logits, taught, wanted, progress) if chosen is None else _rows(chosen, rows)
        return criterion.method.losses(logits, taught, wanted, temperatures, progress)

    learned = [parameter for parameter in criterion.parameters() if parameter.requires_grad]
    return weighted_sum(Work(losses, learned, dtype, chunk), student, _weights(student, counts, dtype))


def _rows(temperatures: Temperatures, rows: slice) -> Temperatures:
    return Temperatures(temperatures.teacher[rows], temperatures.student[rows], temperatures.scale[rows])


def _weights(head: Head, counts: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What each of N tokens weighs in the mean, [N]: 0 for those that do not count, [N] bool (None: all count)."""
    if counts is None:
        counts = head.hidden.new_ones(len(head), dtype=torch.bool)
    return counts.to(dtype) / counts.sum().clamp(min=1)
