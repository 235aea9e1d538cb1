"""The whole loss of a distillation run from hidden states: policy, objective and labels in one pass over the chunks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from rltemp.errors import InputError
from rltemp.features import positions_in
from rltemp.objectives.criterion import DistillationLoss, labels_and_counts
from rltemp.objectives.method import Method
from rltemp.objectives.objective import Objective
from rltemp.policies.policy import check_progress
from rltemp.temperatures import Temperatures
from rltemp.tokens.head import Head, Teacher, make_head, precision_of, two_heads
from rltemp.tokens.linear import choose_for_heads
from rltemp.tokens.sparse import sparse_kd_loss
from rltemp.tokens.topk import TopK
from rltemp.tokens.walk import Work, mean_loss

__all__ = ["linear_distillation_loss", "sparse_distillation_loss"]


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
    run = _Run(criterion, student, teacher, progress, chunk, lambda rows: criterion.method)
    return run.mean_loss(targets, mask, student_hidden.shape[:-1])


def sparse_distillation_loss(
    criterion: DistillationLoss,
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher: TopK,
    targets: Tensor | None = None,
    progress: float | Tensor = 0.0,
    mask: Tensor | None = None,
    *,
    rest: bool = True,
    student_bias: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """`linear_distillation_loss` with a teacher of which the top k classes are known.

    The policy sees the teacher's classes with the rest spread evenly (`TopK.completed`), the distillation term is
    `sparse_kd_loss` with the criterion's objective, and the cross-entropy that of all classes.

    Args:
        criterion: policy, objective and weights, without a plain term and with an objective that needs no targets.
        student_hidden: [..., H], N tokens in all.
        student_weight: [V, H].
        teacher: of N tokens and V classes.
        targets: [...] class indices, or `criterion.ignore_index`; required by a `ce_weight` > 0, and by some policies.
        progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [].
        mask: [...] bool, False for tokens that are left out of the mean.
        rest: whether all classes beyond the k count as one more.
        student_bias: [V], or None.
        chunk: tokens at once, >= 1; by default 256, or as many as have 2^22 logits.

    Returns:
        The mean loss of the tokens that count, a scalar in nats; 0 if none counts.

    Raises:
        InputError: for inputs that do not fit together, missing targets, or a criterion that needs more of the teacher.
    """
    student = make_head("student", student_hidden, student_weight, student_bias)
    if not isinstance(teacher, TopK):
        raise InputError(f"teacher must be a TopK, got {type(teacher).__name__}")
    if (len(teacher), teacher.vocabulary) != (len(student), student.vocabulary):
        raise InputError(
            f"teacher must be of {len(student)} tokens and {student.vocabulary} classes, as the student, "
            f"got {len(teacher)} and {teacher.vocabulary}"
        )
    if criterion.method.plain_weight > 0.0:
        raise InputError(
            f"criterion must have plain_weight 0 for a sparse teacher, got {criterion.method.plain_weight:g}"
        )

    def method(rows: slice) -> Method:
        objective = _Sparse(teacher[rows], rest, criterion.method.objective)
        return dataclasses.replace(criterion.method, objective=objective)

    run = _Run(criterion, student, teacher, progress, chunk, method)
    return run.mean_loss(targets, mask, student_hidden.shape[:-1])


@dataclasses.dataclass(frozen=True)
class _Sparse:
    """`sparse_kd_loss` as an objective of logits [r, V] of the student; those of the teacher are ignored."""

    teacher: TopK
    rest: bool
    objective: Objective

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        return sparse_kd_loss(student_logits, self.teacher, temperatures, rest=self.rest, objective=self.objective)


@dataclasses.dataclass(frozen=True)
class _Run:
    """One batch of a criterion, chunk by chunk.

    Attributes:
        criterion: policy and weights.
        student: whose gradients are wanted.
        teacher: what the policy sees of it.
        progress: share of the run that is done.
        chunk: tokens at once; None for the default.
        method: the loss of a chunk, by its rows.
    """

    criterion: DistillationLoss
    student: Head
    teacher: Teacher
    progress: float | Tensor
    chunk: int | None
    method: Callable[[slice], Method]

    def mean_loss(self, targets: Tensor | None, mask: Tensor | None, shape: torch.Size) -> Tensor:
        """The mean loss of the tokens that count; targets and mask have `shape`, or are None."""
        criterion, student = self.criterion, self.student
        labels, counts = labels_and_counts(targets, mask, shape, student.vocabulary, criterion.ignore_index)
        if labels is None and criterion.method.ce_weight > 0.0:
            raise InputError("targets must be given where ce_weight is > 0, got None")
        check_progress(self.progress, 1)
        dtype, chosen = precision_of(student.dtype, self.teacher.dtype), None
        if criterion.policy.over_batch and len(student):
            chosen = choose_for_heads(
                criterion.policy, student.detach(), self.teacher, labels, self.progress, counts, self.chunk
            )

        position = positions_in(shape, student.hidden.device)

        def losses(logits: Tensor, rows: slice) -> Tensor:
            taught, wanted = self.teacher.logits(rows, dtype), None if labels is None else labels[rows]
            place = None if position is None else position[rows]
            seen = (logits, taught, wanted, self.progress)
            at = _rows(chosen, rows) if chosen else criterion.policy(*seen, position=place)
            return self.method(rows).losses(logits, taught, wanted, at, self.progress)

        learned = [parameter for parameter in criterion.parameters() if parameter.requires_grad]
        if counts is None:
            counts = student.hidden.new_ones(len(student), dtype=torch.bool)
        return mean_loss(Work(losses, learned, dtype, self.chunk), student, counts)


def _rows(temperatures: Temperatures, rows: slice) -> Temperatures:
    return temperatures.map(lambda values: values[rows])
