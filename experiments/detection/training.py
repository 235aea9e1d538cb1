"""Training of detectors, on the labels or with a distillation term."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rltemp.detection import BoxedImages, DetectionDistiller
from rltemp.errors import DivergenceError
from rltemp.experiments.detection.tasks import Setting, make_detector
from rltemp.objectives.method import Method
from rltemp.policies.policy import TemperaturePolicy
from rltemp.seeding import make_generator

__all__ = ["distill", "train_teacher"]

_WARMUP = 0.1
"""Share of a run over which the learning rate rises."""

Losses = Callable[[list[Tensor], list[dict[str, Tensor]], float], dict[str, Tensor]]
"""From images, targets and progress to the terms of the loss."""


def train_teacher(data: BoxedImages, setting: Setting) -> Any:
    """A detector trained on the labels, in eval mode."""
    teacher = make_detector(data, setting.teacher_width, make_generator(0, "teacher"))
    losses: Losses = lambda images, targets, progress: teacher(images, targets)  # noqa: E731
    _train(losses, teacher.parameters(), data, setting, setting.teacher_updates, make_generator(0, "teacher batches"))
    return teacher.eval()


def distill(
    data: BoxedImages, teacher: Any, policy: TemperaturePolicy, method: Method, setting: Setting, seed: int
) -> Any:
    """A student, in eval mode.

    Students of one seed have the same initial weights, batches and draws of proposals under every policy.

    Args:
        data: to train on.
        teacher: trained on them.
        policy: chooses the temperatures.
        method: says the objective and, as `kd_weight`, the weight of the term; torchvision's losses keep theirs.
        setting: of the run.
        seed: of the student.

    Raises:
        DivergenceError: if the loss becomes infinite or NaN.
    """
    student = make_detector(data, setting.student_width, make_generator(seed, "student"))
    weight = method.kd_weight
    distiller = DetectionDistiller(student, teacher, policy, method.objective, foreground=weight, background=weight)

    def losses(images: list[Tensor], targets: list[dict[str, Tensor]], progress: float) -> dict[str, Tensor]:
        if weight == 0.0:
            return student(images, targets)  # type: ignore[no-any-return]
        own, seen = distiller.observe(images, targets)
        _total(own)  # before the policy is asked, which refuses what is not finite as a mistake
        return {**own, "distillation": distiller.distillation(seen, progress)}

    _train(losses, distiller.parameters(), data, setting, setting.updates, make_generator(seed, "batches"))
    return student.eval()


def _train(
    losses: Losses,
    parameters: Iterable[nn.Parameter],
    data: BoxedImages,
    setting: Setting,
    updates: int,
    generator: torch.Generator,
) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=setting.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: _rate(update / updates))
    for update in range(updates):
        images, targets = data.batch(torch.randint(len(data), (setting.batch,), generator=generator))
        # Torchvision samples proposals by the global generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            total = _total(losses(images, targets, update / updates))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()


def _total(losses: dict[str, Tensor]) -> Tensor:
    total = torch.stack(list(losses.values())).sum()
    if not math.isfinite(total.item()):
        raise DivergenceError(f"the loss of a detector must stay finite, got {total.item():g}")
    return total


def _rate(progress: float) -> float:
    """Factor on the learning rate: a linear rise, then a cosine to zero."""
    if progress < _WARMUP:
        return (progress + 0.01) / (_WARMUP + 0.01)
    return 0.5 * (1.0 + math.cos(math.pi * (progress - _WARMUP) / (1.0 - _WARMUP)))
