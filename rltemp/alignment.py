"""Which way a student must move to generalize, as a policy may see it beside the logits.

Logits do not show it. A small probe of clean training images does. Let L be the probe's cross-entropy and v its
gradient. Distilling instance i at temperature T moves the student against T * J_i^T (q_i(T) - p_i(T)), so the
first-order decrease of L is proportional to

    a_i(T) = u_i . T (q_i(T) - p_i(T)),    u_i = J_i v,

where u_i is the tangent of the instance's logits along v. For the last linear layer alone, u_i = h_i^T G with h_i the
layer's input and G = mean over the probe of h (softmax(z) - onehot(y))^T.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.softmax import softmax

__all__ = ["ALIGNMENT_TEMPERATURES", "alignment_effects", "logit_gradient", "normalized_alignment", "probe_gradient"]

ALIGNMENT_TEMPERATURES: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Temperatures at which a policy sees the alignment, evenly spread on a log scale."""

_UNIT = 4.0
"""The temperature whose effects give the unit."""


def alignment_effects(
    tangent: Tensor, student_logits: Tensor, teacher_logits: Tensor, temperature: Tensor | float
) -> Tensor:
    """First-order decrease of the probe loss per instance, a_i(T) = u_i . T (q_i(T) - p_i(T)).

    Args:
        tangent: [..., C], change of each instance's logits along the probe gradient.
        student_logits: [..., C].
        teacher_logits: [..., C].
        temperature: a number, or one per instance [...].

    Returns:
        Effects [...]; positive where distilling the instance lowers the probe loss.
    """
    t = temperature[..., None] if isinstance(temperature, Tensor) else temperature
    residual = softmax(student_logits / t) - softmax(teacher_logits / t)
    return (tangent * residual * t).sum(-1)


def normalized_alignment(tangent: Tensor, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Effects at `ALIGNMENT_TEMPERATURES`, [..., B, A], on a scale that means the same for every network.

    Divided by their root mean square over the batch at T = 4, so that 1 is an effect of the usual size, whatever the
    size of features and gradients.
    """
    effects = torch.stack(
        [alignment_effects(tangent, student_logits, teacher_logits, t) for t in ALIGNMENT_TEMPERATURES], dim=-1
    )
    unit = effects[..., ALIGNMENT_TEMPERATURES.index(_UNIT)].square().mean(dim=-1).sqrt()
    return effects / (unit + torch.finfo(effects.dtype).tiny)[..., None, None]


def probe_gradient(hidden: Tensor, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the mean cross-entropy at the last linear layer.

    Args:
        hidden: [..., P, H], the layer's input.
        logits: [..., P, C], its output.
        targets: [..., P] class indices.

    Returns:
        The gradient of the weight, transposed to [..., H, C], and of the bias, [..., C].
    """
    by_logits = logit_gradient(logits, targets)
    return hidden.mT @ by_logits, by_logits.sum(dim=-2)


def logit_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy by the logits, (softmax(z) - onehot(y)) / P.

    Args:
        logits: [..., P, C].
        targets: class indices [..., P], or [P] that all share.

    Returns:
        [..., P, C], without graph.
    """
    errors = softmax(logits.detach()) - F.one_hot(targets, logits.shape[-1]).to(logits.dtype)
    return errors / logits.shape[-2]
