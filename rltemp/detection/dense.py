"""Distillation of dense heads, whose anchors have a sigmoid per class instead of one softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.checks import check_finite
from rltemp.errors import InputError
from rltemp.precision import without_autocast, working_precision
from rltemp.temperatures import Temperatures

__all__ = ["as_two_classes", "binary_kd_loss"]


def binary_kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperatures: Temperatures) -> Tensor:
    """Distillation loss per anchor and class, scale * KL(Bernoulli(p) || Bernoulli(q)).

    p = sigmoid(teacher_logits / T_t) and q = sigmoid(student_logits / T_s): `kd_loss` with a class of its own for
    "not this class" (own formulation). At T = 1 it is the binary cross-entropy with the teacher's probabilities, less
    their entropy. It is not averaged: dense heads divide the sum by the number of anchors with an object.

    Args:
        student_logits: [N, C], raw, of N anchors and C classes; flatten images and anchors first.
        teacher_logits: [N, C], raw.
        temperatures: of N instances, one per anchor, shared by its classes; or of N * C instances, one per anchor and
            class, anchor by anchor, as `as_two_classes` orders them.

    Returns:
        [N, C], in nats, >= 0 up to rounding.

    Raises:
        InputError: for wrong shapes, unequal numbers of classes, NaN or infinite logits, or temperatures of another
            number of instances.
    """
    _check(student_logits, teacher_logits)
    anchors, classes = student_logits.shape
    if not isinstance(temperatures, Temperatures) or len(temperatures) not in (anchors, anchors * classes):
        got = len(temperatures) if isinstance(temperatures, Temperatures) else type(temperatures).__name__
        raise InputError(
            f"temperatures must be Temperatures of {anchors} anchors or of {anchors * classes} anchors and classes, "
            f"got {got}"
        )
    with without_autocast(student_logits):
        student, teacher = working_precision(student_logits, teacher_logits)
        at = temperatures.to(student.dtype)
        shape = (anchors, -1)
        u, v = teacher / at.teacher.view(shape), student / at.student.view(shape)
        # Both sides of each sigmoid by their own logarithm: 1 - p has no digits left where p rounds to 1.
        positive = torch.sigmoid(u) * (F.logsigmoid(u) - F.logsigmoid(v))
        negative = torch.sigmoid(-u) * (F.logsigmoid(-u) - F.logsigmoid(-v))
        return at.scale.view(shape) * (positive + negative)


def as_two_classes(logits: Tensor) -> Tensor:
    """Sigmoid logits [N, C] as N * C instances of two classes, [N * C, 2], for a policy, anchor by anchor.

    The softmax of (0, z) / T is (1 - sigmoid(z / T), sigmoid(z / T)); class 1 is "this class", and the target of an
    instance is 1 where its anchor holds an object of its class.

    Raises:
        InputError: for another shape, or integers.
    """
    _check_shape("logits", logits)
    flat = logits.flatten()
    return torch.stack((torch.zeros_like(flat), flat), dim=1)


def _check(student_logits: Tensor, teacher_logits: Tensor) -> None:
    for name, logits in (("student_logits", student_logits), ("teacher_logits", teacher_logits)):
        _check_shape(name, logits)
        check_finite(name, logits)
    if student_logits.shape != teacher_logits.shape:
        raise InputError(
            "student_logits and teacher_logits must have one shape [N, C], "
            f"got {list(student_logits.shape)} and {list(teacher_logits.shape)}"
        )


def _check_shape(name: str, logits: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.numel() or not logits.is_floating_point():
        got = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"{name} must be floating point of shape [N, C], N and C >= 1, got {got}")
