"""KL divergence between softened distributions, with its gradient in closed form.

Autograd through the textbook expression walks every [B, C] intermediate again, which makes a rule whose temperatures
carry gradients three times as dear as plain distillation. The derivatives are short, so they are written out; compilers
and `torch.func`, which do as well by themselves, get the textbook expression.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rltemp.transforms import is_transformed

__all__ = ["softened_kl"]


def softened_kl(student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    """KL(softmax(teacher_logits / teacher) || softmax(student_logits / student)) per instance, [B].

    Differentiable any number of times in all four: logits [B, C] and temperatures [B], of one floating-point dtype.
    """
    if is_transformed():
        return _textbook(student_logits, teacher_logits, student, teacher)
    divergence: Tensor = _SoftenedKL.apply(student_logits, teacher_logits, student, teacher)
    return divergence


def _textbook(student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    log_p = _soften(teacher_logits, teacher).log_softmax(1)
    log_q = _soften(student_logits, student).log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _soften(logits: Tensor, temperature: Tensor) -> Tensor:
    """Logits over temperature, shifted so that the largest is 0: the same softmax, and nothing large cancels."""
    return (logits - logits.detach().amax(1, keepdim=True)) / temperature[:, None]


class _SoftenedKL(torch.autograd.Function):
    """With u = z_t / T_t, v = z_s / T_s, p = softmax(u), q = softmax(v), d = u - v: KL = E_p[d] - log Z_u + log Z_v.

    dKL/dz_s = (q - p) / T_s             dKL/dT_s = -(E_q[v] - E_p[v]) / T_s
    dKL/dz_t = p (d - E_p[d]) / T_t      dKL/dT_t = -(E_p[d u] - E_p[d] E_p[u]) / T_t

    The forward pass takes along what the backward pass needs, in place and with few [B, C] alive at once: touching
    fresh memory costs more than the arithmetic on it. The derivative by the teacher's logits, seldom wanted, and second
    derivatives go through the textbook expression.
    """

    @staticmethod
    def forward(ctx: Any, student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
        v = (student_logits - student_logits.amax(1, keepdim=True)).div_(student[:, None])
        u = (teacher_logits - teacher_logits.amax(1, keepdim=True)).div_(teacher[:, None])
        p = u.softmax(1)
        by_student = by_teacher = None
        if ctx.needs_input_grad[3]:
            weighted = p * u
            mean_u = weighted.sum(1)
            d = u.sub_(v)
            mean_du = weighted.mul_(d).sum(1)
            del weighted
        else:
            d = u.sub_(v)
        mean = (p * d).sum(1)
        del u, d
        q = v.softmax(1)
        # The largest entry of u and of v is 0, so the largest probability is 1 / Z.
        divergence = mean + torch.log(p.amax(1) / q.amax(1))
        excess = q.sub_(p)
        if ctx.needs_input_grad[2]:
            by_student = v.mul_(excess).sum(1).div_(student)
        if ctx.needs_input_grad[3]:
            by_teacher = mean_du.sub_(mean * mean_u).div_(teacher)
        ctx.save_for_backward(student_logits, teacher_logits, student, teacher, excess, by_student, by_teacher)
        return divergence

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, excess, by_student, by_teacher = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled() or needs[1]:
            return _textbook_gradient(grad, inputs, needs)
        return (
            excess * (grad / inputs[2])[:, None] if needs[0] else None,
            None,
            None if by_student is None else -grad * by_student,
            None if by_teacher is None else -grad * by_teacher,
        )


def _textbook_gradient(grad: Tensor, inputs: list[Tensor], needs: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    again = torch.is_grad_enabled()
    wanted = [x for x, need in zip(inputs, needs, strict=True) if need]
    with torch.enable_grad():
        gradients = iter(torch.autograd.grad(_textbook(*inputs), wanted, grad, create_graph=again))
    return tuple(next(gradients) if need else None for need in needs)
