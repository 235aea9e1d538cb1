"""What a trained policy adds to a KD step of networks as people train them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rltemp.experiments.bench.agent_and_loss import random_policy
from rltemp.experiments.bench.section import AtMost, Row, Section
from rltemp.experiments.bench.timing import rounds, timer
from rltemp.features import ALIGNED_FEATURES, LOGIT_FEATURES
from rltemp.networks import make_network
from rltemp.objectives import kd_loss
from rltemp.policies import make_policy
from rltemp.policies.policy import TemperaturePolicy
from rltemp.probe import ProbeAlignment
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures

__all__ = ["measure"]

_CLASSES = 100
_SCOPES: tuple[Literal["classifier", "network"], ...] = ("classifier", "network")
_NEVER = 1_000_000_000

Seconds = npt.NDArray[np.float64]
Choose = Callable[[Tensor, Tensor, Tensor], Temperatures]
"""Temperatures from student logits, teacher logits and targets."""


def measure(
    seconds: float,
    teacher: str = "resnet56",
    student: str = "resnet20",
    batch: int = 64,
    probe: int = 64,
    shape: Sequence[int] = (3, 32, 32),
) -> Section:
    """Choosing temperatures against the rest of the KD step that they are chosen in."""
    generator = make_generator(0)
    networks = [make_network(name, _CLASSES, shape, generator) for name in (teacher, student)]
    learner = networks[1]
    images = torch.randn(probe, *shape, generator=generator)
    targets = torch.randint(_CLASSES, (probe,), generator=generator)
    choosers = {"static": _unaided(make_policy("static")), "logits": _unaided(random_policy(LOGIT_FEATURES, generator))}
    aligned = random_policy(ALIGNED_FEATURES, generator)
    with ExitStack() as probes:
        for scope in _SCOPES:
            for name, every in (("fresh", 1), ("kept", _NEVER)):
                eye = probes.enter_context(
                    ProbeAlignment(learner, learner.classifier, images, targets, every, scope=scope)
                )
                choosers[f"{scope}, {name}"] = _aided(aligned, eye)
        step = _Step(networks[0], learner, batch, shape)
        step(choosers)  # the first refresh of those that keep their gradient
        samples = [step(choosers) for _ in rounds(seconds)]
    times = {name: np.array([sample[name] for sample in samples]) for name in samples[0]}
    title = f"reuse: {student} taught by {teacher}, {batch} images; the probe has {probe}"
    return Section(title, "of the step without", _rows(times))


def _rows(times: Mapping[str, Seconds]) -> tuple[Row, ...]:
    rest = times["rest"]
    rows = [
        Row.of("static T", times["static"], times["static"] / rest),
        Row.of("logits policy", times["logits"], times["logits"] / rest, AtMost(0.02)),
    ]
    for scope in _SCOPES:
        fresh, kept = times[f"{scope}, fresh"], times[f"{scope}, kept"]
        for every in (1, 10):
            amortized = (fresh + (every - 1) * kept) / every
            rows.append(Row.of(f"aligned policy, {scope}, every {every}", amortized, amortized / rest))
    return tuple(rows)


def _unaided(policy: TemperaturePolicy) -> Choose:
    return lambda student, teacher, targets: policy(student, teacher, targets, 0.5)


def _aided(policy: TemperaturePolicy, probe: ProbeAlignment) -> Choose:
    return lambda student, teacher, targets: policy(student, teacher, targets, 0.5, probe(student, teacher))


class _Step:
    """A KD step in which temperatures are chosen in several ways, one after the other.

    Choosing and the rest are parts of the same step, so their ratio does not drown in what other programs do.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module, batch: int, shape: Sequence[int]) -> None:
        generator = make_generator(1)
        self._teacher, self._student = teacher.eval(), student.train()
        self._images = torch.randn(batch, *shape, generator=generator)
        self._targets = torch.randint(_CLASSES, (batch,), generator=generator)
        self._optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9)

    def __call__(self, choosers: Mapping[str, Choose]) -> dict[str, float]:
        """Seconds of each way to choose, and of the "rest" of the step; the last choice counts."""
        times = {}
        start = timer()
        with torch.no_grad():
            teacher_logits = self._teacher(self._images)
        student_logits = self._student(self._images)
        for name, choose in choosers.items():
            before = timer()
            temperatures = choose(student_logits, teacher_logits, self._targets)
            times[name] = timer() - before
        self._optimizer.zero_grad()
        kd_loss(student_logits, teacher_logits, temperatures).mean().backward()
        self._optimizer.step()
        return {**times, "rest": timer() - start - sum(times.values())}
