"""What it saves to treat a batch as a batch: published code loops over its instances."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.experiments.bench.section import AtLeast, Row, Section
from rltemp.experiments.bench.timing import interleave
from rltemp.features import LOGIT_FEATURES, LogitFeatures
from rltemp.objectives import kd_loss
from rltemp.policies.learned import LearnedPolicy
from rltemp.seeding import make_generator

__all__ = ["measure", "random_policy"]


def measure(seconds: float, batch: int = 64, classes: int = 100) -> Section:
    """Temperatures by a learned policy and the distillation loss with its gradient: in one go, and one by one.

    The loop calls the same functions, checks included, on one instance at a time.
    """
    generator = make_generator(0)
    student = torch.randn(batch, classes, generator=generator).requires_grad_()
    teacher = 3.0 * torch.randn(batch, classes, generator=generator)
    targets = torch.randint(classes, (batch,), generator=generator)
    policy = random_policy(LOGIT_FEATURES, generator)

    def batched() -> None:
        student.grad = None
        kd_loss(student, teacher, policy(student, teacher, targets, 0.5)).mean().backward()

    def looped() -> None:
        student.grad = None
        losses = []
        for i in range(batch):
            one = slice(i, i + 1)
            temperatures = policy(student[one], teacher[one], targets[one], 0.5)
            losses.append(kd_loss(student[one], teacher[one], temperatures))
        torch.cat(losses).mean().backward()

    bare = _Bare(generator)

    def plain() -> None:
        student.grad = None
        bare(student, teacher).backward()

    times = interleave({"batched": batched, "looped": looped, "bare": plain}, seconds)
    rows = (
        Row.of("policy and loss, batched", times["batched"], times["looped"] / times["batched"], AtLeast(30.0)),
        Row.of("three features and loss, bare", times["bare"], times["looped"] / times["bare"]),
    )
    return Section(f"agent and loss: {batch} instances, {classes} classes", "times as fast as one by one", rows)


class _Bare:
    """The least that a policy and its loss take: RLKD's three features, actor and range, batched, without a check."""

    def __init__(self, generator: torch.Generator) -> None:
        sizes = itertools.pairwise((3, 256, 256, 1))
        self._layers = [torch.randn(wide, narrow, generator=generator) / wide**0.5 for wide, narrow in sizes]

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        with torch.no_grad():
            first, second = student.softmax(1).topk(2, 1).values.unbind(1)
            x = torch.stack((first, teacher.softmax(1).amax(1), first - second), 1)
            for layer in self._layers[:-1]:
                x = (x @ layer).relu()
            t = 10.0 * torch.sigmoid(x @ self._layers[-1])
        log_q, log_p = F.log_softmax(student / t, 1), F.log_softmax(teacher / t, 1)
        return (F.kl_div(log_q, log_p, reduction="none", log_target=True) * t * t).sum(1).mean()


def random_policy(features: tuple[str, ...], generator: torch.Generator) -> LearnedPolicy:
    """A learned policy that has learned nothing: random weights cost as much as good ones."""
    policy = LearnedPolicy(LogitFeatures(features))
    for parameter in policy.parameters():
        parameter.normal_(0.0, 0.1, generator=generator)
    return policy
