"""KL divergence between softened distributions, with its gradient in closed form.

Autograd through the textbook expression passes over every [B, C] intermediate again, which makes a rule whose
temperatures carry gradients cost three times as much as plain distillation. The derivatives are therefore written out
(this project's derivation). Compilers and `torch.func` get the textbook expression, which they make fast by themselves.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rltemp.tracing import is_transformed

__all__ = ["soften", "softened_kl"]

_NATS = math.log(2.0)
"""Nats in one bit."""


def softened_kl(
    student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor, scale: Tensor
) -> Tensor:
    """Loss per instance, scale * KL(softmax(teacher_logits / teacher) || softmax(student_logits / student)), in nats.

    Differentiable any number of times with respect to all five inputs, which have one floating-point dtype.

    Args:
        student_logits: [B, C].
        teacher_logits: [B, C].
        student: the student's temperatures, [B], > 0.
        teacher: the teacher's temperatures, [B], > 0.
        scale: [B].

    Returns:
        [B].
    """
    if is_transformed():
        return _textbook(student_logits, teacher_logits, student, teacher, scale)
    divergence: Tensor = _SoftenedKL.apply(student_logits, teacher_logits, student, teacher, scale)
    return divergence


def _textbook(
    student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor, scale: Tensor
) -> Tensor:
    log_p = soften(teacher_logits, teacher).log_softmax(1)
    log_q = soften(student_logits, student).log_softmax(1)
    return scale * (log_p.exp() * (log_p - log_q)).sum(1)


def soften(logits: Tensor, temperature: Tensor) -> Tensor:
    """Logits [B, C] over temperature [B], shifted so that the largest is 0: the same softmax without cancellation."""
    return (logits - logits.detach().amax(1, keepdim=True)) / temperature[:, None]


class _SoftenedKL(torch.autograd.Function):
    """Scaled KL divergence with closed-form gradient; the derivation is this project's.

    With u = z_t / T_t, v = z_s / T_s, p = softmax(u), q = softmax(v), d = u - v, it is KL = E_p[d] - log Z_u + log Z_v,
    and

        dKL/dz_s = (q - p) / T_s             dKL/dT_s = -(E_q[v] - E_p[v]) / T_s
        dKL/dz_t = p (d - E_p[d]) / T_t      dKL/dT_t = -(E_p[d u] - E_p[d] E_p[u]) / T_t

    The forward pass computes what the backward pass needs. It makes few passes over [B, C]: u, v, and d are in bits,
    since PyTorch's `exp2` takes a third of the time of its `exp`; the variable p holds Z_u p, and `excess` holds
    Z_v (q - p); all temporary values share one workspace, since allocating memory costs more than the arithmetic on
    it. The scale is part of the function because a node of the graph costs as much as a pass over [B, C]. The
    derivative with respect to the teacher's logits, rarely needed, and second derivatives go through the textbook
    expression.
    """

    @staticmethod
    def forward(
        ctx: Any, student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor, scale: Tensor
    ) -> Tensor:
        _, _, by_temperature, by_teacher_temperature, by_scale = ctx.needs_input_grad
        excess = torch.empty_like(student_logits)
        u, v, p, *spare = excess.new_empty(4 if by_teacher_temperature else 3, *excess.shape).unbind()
        _soften_in_bits(teacher_logits, teacher, out=u)
        _soften_in_bits(student_logits, student, out=v)
        z_u = torch.exp2(u, out=p).sum(1)
        z_v = torch.exp2(v, out=excess).sum(1)
        ratio = z_v / z_u
        excess.addcmul_(p, ratio.unsqueeze(1), value=-1.0)
        d = torch.sub(u, v, out=spare[0] if spare else u)
        weight = scale / z_v.mul_(student)
        student_slope = teacher_slope = None
        if by_temperature:
            student_slope = v.mul_(excess).sum(1).mul_(weight).mul_(-_NATS)
        weighted = torch.mul(p, d, out=v)
        mean = weighted.sum(1).div_(z_u)
        if by_teacher_temperature:
            covariance = weighted.addcmul_(p, mean.unsqueeze(1), value=-1.0).mul_(u).sum(1).div_(z_u)
            teacher_slope = covariance.mul_(scale).div_(teacher).mul_(-(_NATS**2))
        divergence = ratio.log_().add_(mean, alpha=_NATS)
        ctx.save_for_backward(
            student_logits,
            teacher_logits,
            student,
            teacher,
            scale,
            excess,
            weight,
            student_slope,
            teacher_slope,
            divergence if by_scale else None,
        )
        return divergence * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, excess, weight, student_slope, teacher_slope, divergence = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled() or needs[1]:
            return _textbook_gradient(grad, inputs, needs)
        return (
            excess * (grad * weight).unsqueeze(1) if needs[0] else None,
            None,
            *(None if slope is None else grad * slope for slope in (student_slope, teacher_slope, divergence)),
        )


def _soften_in_bits(logits: Tensor, temperature: Tensor, out: Tensor) -> None:
    """Write logits [B, C] over (temperature [B] * log 2) into `out`, shifted so that the largest is 0."""
    # Multiplying takes half the time of dividing.
    bits = temperature.reciprocal().mul_(1.0 / _NATS).unsqueeze(1)
    torch.sub(logits, logits.amax(1, keepdim=True), out=out).mul_(bits)


def _textbook_gradient(grad: Tensor, inputs: list[Tensor], needs: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    again = torch.is_grad_enabled()
    wanted = [x for x, need in zip(inputs, needs, strict=True) if need]
    with torch.enable_grad():
        gradients = iter(torch.autograd.grad(_textbook(*inputs), wanted, grad, create_graph=again))
    return tuple(next(gradients) if need else None for need in needs)
