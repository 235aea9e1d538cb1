"""What a rule costs: its temperatures and the distillation loss, against plain distillation."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.experiments.bench.section import AtMost, Row, Section
from rltemp.experiments.bench.timing import interleave
from rltemp.objectives import kd_loss
from rltemp.policies import make_policy
from rltemp.seeding import make_generator

__all__ = ["measure"]

_RULES = ("static", "anneal", "ctkd", "dtkd", "normkd", "lskd", "ttm", "wttm", "adakd", "spread")


def measure(seconds: float, batch: int = 128, classes: int = 1000) -> Section:
    """Forward and backward pass of every closed-form rule and its loss."""
    generator = make_generator(0)
    student = (2.0 * torch.randn(batch, classes, generator=generator)).requires_grad_()
    teacher = 3.0 * torch.randn(batch, classes, generator=generator)
    losses = {"plain": lambda: _plain(student, teacher)} | {name: _of_rule(name, student, teacher) for name in _RULES}
    times = interleave({name: _with_gradient(loss, student) for name, loss in losses.items()}, seconds)
    rows = [Row.of("plain KD", times["plain"], times["plain"] / times["plain"])]
    rows += [Row.of(name, times[name], times[name] / times["plain"], AtMost(1.3)) for name in _RULES]
    return Section(f"rules: {batch} instances, {classes} classes", "of plain KD", tuple(rows))


def _plain(student: Tensor, teacher: Tensor, t: float = 4.0) -> Tensor:
    """The loss of Hinton et al. (2015) as everybody writes it."""
    log_q, log_p = F.log_softmax(student / t, dim=1), F.log_softmax(teacher / t, dim=1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * t * t


def _of_rule(name: str, student: Tensor, teacher: Tensor) -> Callable[[], Tensor]:
    policy = make_policy(name)
    return lambda: kd_loss(student, teacher, policy(student, teacher, None, 0.5)).mean()


def _with_gradient(loss: Callable[[], Tensor], student: Tensor) -> Callable[[], None]:
    def run() -> None:
        student.grad = None
        loss().backward()

    return run
