"""The probe alignment: which way a student must move to generalize, seen by a policy (this project's derivation).

Let L be the cross-entropy of a probe, a few clean training images, and v its gradient with respect to the student's
parameters. Distilling instance i at temperature T moves the student against T * J_i^T (q_i(T) - p_i(T)), with J_i the
Jacobian of the instance's logits, and p_i and q_i the softened probabilities of teacher and student. The first-order
decrease of L is then proportional to

    a_i(T) = u_i . T (q_i(T) - p_i(T)),    u_i = J_i v,

where u_i [C] is the tangent of the instance's logits along v. If only the last linear layer counts, u_i = h_i^T G, with
h_i the layer's input and G = mean over the probe of h (softmax(z) - onehot(y))^T.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.softmax import softmax

__all__ = ["ALIGNMENT_TEMPERATURES", "alignment_effects", "logit_gradient", "normalized_alignment", "probe_gradient"]

ALIGNMENT_TEMPERATURES: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Temperatures of the A columns of an alignment, evenly spread on a log scale."""

_UNIT = 4.0
"""Temperature at which the root mean square of a batch's effects is the unit of a normalized alignment."""


def alignment_effects(
    tangent: Tensor, student_logits: Tensor, teacher_logits: Tensor, temperature: Tensor | float
) -> Tensor:
    """First-order decrease of the probe loss per instance, a_i(T) = u_i . T (q_i(T) - p_i(T)) (own derivation).

    Args:
        tangent: u, [..., C], change of each instance's logits along the probe gradient.
        student_logits: [..., C]; their softmax at T is q.
        teacher_logits: [..., C]; their softmax at T is p.
        temperature: T > 0, a number, or one per instance [...].

    Returns:
        Effects [...]; positive where distilling the instance lowers the probe loss.
    """
    t = temperature[..., None] if isinstance(temperature, Tensor) else temperature
    residual = softmax(student_logits / t) - softmax(teacher_logits / t)
    return (tangent * residual * t).sum(-1)


def normalized_alignment(tangent: Tensor, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Effects at each of `ALIGNMENT_TEMPERATURES`, [..., B, A], on a scale that means the same for every network.

    They are divided by their root mean square over the batch at T = 4, so that 1 is an effect of the usual size,
    whatever the size of features and gradients. Positive values lower the probe loss.

    Args:
        tangent: [..., B, C], change of each instance's logits along the probe gradient.
        student_logits: [..., B, C].
        teacher_logits: [..., B, C].
    """
    effects = torch.stack(
        [alignment_effects(tangent, student_logits, teacher_logits, t) for t in ALIGNMENT_TEMPERATURES], dim=-1
    )
    unit = effects[..., ALIGNMENT_TEMPERATURES.index(_UNIT)].square().mean(dim=-1).sqrt()
    return effects / (unit + torch.finfo(effects.dtype).tiny)[..., None, None]


def probe_gradient(hidden: Tensor, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the probe's mean cross-entropy with respect to the last linear layer.

    Args:
        hidden: [..., P, H], the layer's input for P probe images.
        logits: [..., P, C], the layer's output.
        targets: [..., P] class indices.

    Returns:
        The gradient of the weight, transposed to [..., H, C], and that of the bias, [..., C].
    """
    by_logits = logit_gradient(logits, targets)
    return hidden.mT @ by_logits, by_logits.sum(dim=-2)


def logit_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy with respect to the logits, (softmax(z) - onehot(y)) / P.

    Args:
        logits: [..., P, C].
        targets: class indices [..., P], or [P] shared by all leading dimensions.

    Returns:
        [..., P, C], detached from the graph.
    """
    errors = softmax(logits.detach()) - F.one_hot(targets, logits.shape[-1]).to(logits.dtype)
    return errors / logits.shape[-2]
