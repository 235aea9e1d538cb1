"""Distillation from hidden states and output matrices, without the logits of all tokens at once."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.checks import check_logits, check_mask, check_targets
from rltemp.errors import InputError
from rltemp.objectives.kd import KD, check_temperatures
from rltemp.objectives.objective import Objective
from rltemp.policies.over_batch import OverBatchPolicy
from rltemp.policies.policy import TemperaturePolicy, check_progress
from rltemp.precision import without_autocast
from rltemp.temperatures import Temperatures
from rltemp.tokens.head import Head, Teacher, chunks, precision_of, two_heads
from rltemp.tokens.walk import Work, losses_by_token

__all__ = ["choose_for_heads", "linear_kd_loss", "linear_temperatures"]


def linear_kd_loss(
    student_hidden: Tensor,
    student_weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    temperatures: Temperatures,
    *,
    student_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    targets: Tensor | None = None,
    objective: Objective | None = None,
    chunk: int | None = None,
) -> Tensor:
    """`kd_loss`, or another objective, of logits that are computed `chunk` tokens at a time, forward and backward.

    Gradients flow to the student's hidden states, weight and bias and to the temperatures, not to the teacher, and
    there is no second derivative. The backward pass computes all logits again: where the loss of the batch is a mean,
    `linear_distillation_loss` is faster. Logits are computed in the dtype of the hidden states, as under autocast;
    losses and the sum of the weight's gradient are float32, or float64 if a network is. Not for `torch.func` or
    compilers.

    Args:
        student_hidden: [N, H]; N may be 0.
        student_weight: [V, H].
        teacher_hidden: [N, H_t].
        teacher_weight: [V, H_t].
        temperatures: of N tokens.
        student_bias: [V], or None.
        teacher_bias: [V], or None.
        targets: [N] class indices, for objectives that need them.
        objective: by default `KD()`.
        chunk: tokens at once, >= 1; by default 256, or as many as have 2^22 logits.

    Returns:
        [N], in nats.

    Raises:
        InputError: for shapes, vocabularies, dtypes or devices that do not fit together, or NaN and infinite logits.
    """
    student, teacher = two_heads(
        (student_hidden, student_weight, student_bias), (teacher_hidden, teacher_weight, teacher_bias)
    )
    check_temperatures(temperatures, len(student))
    if targets is not None:
        check_labels(targets, student)
    chosen, dtype = objective or KD(), precision_of(student.dtype, teacher.dtype)
    originals = (temperatures.teacher, temperatures.student, temperatures.scale)
    leaves = [value.detach().requires_grad_(value.requires_grad) for value in originals]

    def losses(logits: Tensor, rows: slice) -> Tensor:
        labels = None if targets is None else targets[rows]
        return chosen(logits, teacher.logits(rows, dtype), labels, Temperatures(*(leaf[rows] for leaf in leaves)))

    return losses_by_token(Work(losses, leaves, dtype, chunk), student, originals)


def linear_temperatures(
    policy: TemperaturePolicy,
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
) -> Temperatures:
    """A policy's temperatures, without gradient, of logits that are computed `chunk` tokens at a time.

    Args:
        policy: any that needs no alignment, and chooses for each instance by itself or is an `OverBatchPolicy`.
        student_hidden: [N, H], N >= 1.
        student_weight: [V, H].
        teacher_hidden: [N, H_t].
        teacher_weight: [V, H_t].
        targets: [N] class indices; required if "targets" is in `policy.needs`.
        progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [] or [N].
        mask: [N] bool, False for tokens that must not influence others.
        student_bias: [V], or None.
        teacher_bias: [V], or None.
        chunk: tokens at once, >= 1; by default 256, or as many as have 2^22 logits.

    Raises:
        InputError: for a policy that cannot choose chunk by chunk, or inputs that do not fit together.
    """
    student, teacher = two_heads(
        (student_hidden, student_weight, student_bias), (teacher_hidden, teacher_weight, teacher_bias)
    )
    if targets is not None:
        check_labels(targets, student)
    if mask is not None:
        check_mask(mask, torch.Size([len(student)]))
    return choose_for_heads(policy, student, teacher, targets, progress, mask, chunk)


def choose_for_heads(
    policy: TemperaturePolicy,
    student: Head,
    teacher: Teacher,
    targets: Tensor | None,
    progress: float | Tensor,
    mask: Tensor | None,
    chunk: int | None,
) -> Temperatures:
    """`linear_temperatures` of checked heads.

    Raises:
        InputError: for a policy that cannot choose chunk by chunk.
    """
    if policy.over_batch and not isinstance(policy, OverBatchPolicy):
        raise InputError(
            "policy must choose for each instance by itself, or be an OverBatchPolicy, to go over hidden states in "
            f"chunks, got {type(policy).__name__}"
        )
    if len(student) == 0:
        raise InputError("student_hidden must hold at least one token for a policy to choose, got 0")
    check_progress(progress, len(student))
    dtype, student, parts = precision_of(student.dtype, teacher.dtype), student.in_one_dtype(), []
    with torch.no_grad(), without_autocast(student.hidden):
        for rows in chunks(len(student), student.vocabulary, chunk):
            logits = student.logits(rows, dtype), teacher.logits(rows, dtype)
            parts.append(_columns(policy, *logits, targets, progress, rows))
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        if isinstance(policy, OverBatchPolicy):
            return policy.answer(columns[0], progress, mask)
        return Temperatures(*columns)


def _columns(
    policy: TemperaturePolicy,
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor | None,
    progress: float | Tensor,
    rows: slice,
) -> tuple[Tensor, ...]:
    """What is kept of a chunk: the marks [r] of a rule over the batch, or all of its `Temperatures`, [r] each."""
    if isinstance(policy, OverBatchPolicy):
        check_logits(student_logits, teacher_logits)
        return (policy.mark(student_logits, teacher_logits),)
    now = progress[rows] if isinstance(progress, Tensor) and progress.ndim else progress
    chosen: Temperatures = policy(student_logits, teacher_logits, None if targets is None else targets[rows], now)
    return chosen.tensors


def check_labels(targets: Tensor, head: Head) -> None:
    """Raise `InputError` unless `targets` are class indices of the tokens of `head`, of which there may be none."""
    if len(head) or targets.shape != (0,):
        check_targets(targets, len(head), head.vocabulary)
