"""KL divergence between softened distributions, with its gradient in closed form.

Autograd through the textbook expression walks every [B, C] intermediate again, which makes a rule whose temperatures
carry gradients three times as dear as plain distillation. The derivatives are short, so they are written out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["softened_kl"]


def softened_kl(student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    """KL(softmax(teacher_logits / teacher) || softmax(student_logits / student)) per instance, [B].

    Differentiable, twice too, in all four inputs: logits [B, C] and temperatures [B] of one floating-point dtype.
    """
    if student is teacher:
        # The compiler wants the tensors given to a Function to be distinct.
        teacher = teacher.view_as(teacher)
    by_temperature = student.requires_grad or teacher.requires_grad
    divergence: Tensor = _SoftenedKL.apply(student_logits, teacher_logits, student, teacher, by_temperature)[0]
    return divergence


class _SoftenedKL(torch.autograd.Function):
    """With u = z_t / T_t, v = z_s / T_s, p = softmax(u), q = softmax(v), d = u - v: KL = E_p[d] - log Z_u + log Z_v.

    dKL/dz_s = (q - p) / T_s             dKL/dT_s = -sum (q - p) v / T_s
    dKL/dz_t = p (d - E_p[d]) / T_t      dKL/dT_t = -sum p (d - E_p[d]) u / T_t

    The forward pass takes along what the usual backward pass needs, in place and with few [B, C] alive at once:
    touching fresh memory costs more than the arithmetic on it.
    """

    @staticmethod
    def forward(
        student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor, by_temperature: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        u, v = _soften(teacher_logits, teacher), _soften(student_logits, student)
        p = u.softmax(1)
        d = u.sub_(v)
        mean = (p * d).sum(1)
        by_student, by_teacher = torch.zeros_like(mean), torch.zeros_like(mean)
        if by_temperature:
            weighted = p * d.sub_(mean[:, None])
            # u is d + v up to a constant, which `weighted` cancels: it sums to 0.
            by_teacher = d.add_(v).mul_(weighted).sum(1)
            del weighted
        del u, d
        q = v.softmax(1)
        # The largest entry of u and of v is 0, so the largest probability is 1 / Z.
        divergence = mean + p.amax(1).log() - q.amax(1).log()
        excess = q.sub_(p)
        if by_temperature:
            by_student = v.mul_(excess).sum(1)
        return divergence, excess, by_student, by_teacher

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        *tensors, ctx.by_temperature = inputs
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Instances are independent: K batches of B are one of K * B."""
        *tensors, by_temperature = inputs
        batched = (
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip(tensors, in_dims, strict=False)
        )
        outputs = _SoftenedKL.apply(*(x.flatten(0, 1) for x in batched), by_temperature)
        return tuple(x.unflatten(0, (info.batch_size, -1)) for x in outputs), (0, 0, 0, 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None, None
        *inputs, excess, by_student, by_teacher = ctx.saved_tensors
        _, teacher_needs, *temperatures_need = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled() or teacher_needs or (any(temperatures_need) and not ctx.by_temperature):
            return *_derivatives(grad, *inputs), None
        _, _, student, teacher = inputs
        by_student_logits = excess * (grad / student)[:, None]
        if not ctx.by_temperature:
            return by_student_logits, None, None, None, None
        return by_student_logits, None, by_student * (-grad / student), by_teacher * (-grad / teacher), None


def _derivatives(
    grad: Tensor, student_logits: Tensor, teacher_logits: Tensor, student: Tensor, teacher: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All four, from the inputs alone, so that they can be differentiated again."""
    u, v = _soften(teacher_logits, teacher), _soften(student_logits, student)
    p, q = u.softmax(1), v.softmax(1)
    d = u - v
    excess, weighted = q - p, p * (d - (p * d).sum(1, keepdim=True))
    return (
        excess * (grad / student)[:, None],
        weighted * (grad / teacher)[:, None],
        (excess * v).sum(1) * (-grad / student),
        (weighted * u).sum(1) * (-grad / teacher),
    )


def _soften(logits: Tensor, temperature: Tensor) -> Tensor:
    """Logits over temperature, shifted so that the largest is 0: the same softmax, and nothing large cancels."""
    shifted = logits - logits.detach().amax(1, keepdim=True)
    return shifted / temperature[:, None] if torch.is_grad_enabled() else shifted.div_(temperature[:, None])
