"""Whether a policy reads labels that are held out: false ones must change nothing that it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from rltemp.checks import unchecked
from rltemp.data import Dataset
from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.recipes import Recipe

__all__ = ["reads_held_out_labels"]

_SEEDS = (0, 1)


def reads_held_out_labels(recipe: Recipe, task: Task, spec: PolicySpec) -> bool:
    """Whether students under a policy come out differently when validation and test labels are false.

    Labels are changed in place, so that a policy sees the false ones however it got at the data of this task. Data that
    it read from elsewhere it keeps; that is for `rltemp.experiments.arena.freshness` to find.

    Args:
        recipe: the setting.
        task: what it builds; as before afterwards.
        spec: the policy.
    """
    honest = _weights(recipe, task, spec)
    with _false_labels(task.validation), _false_labels(task.test):
        other = _weights(recipe, task, spec)
    return any(not torch.equal(a, b) for a, b in zip(honest, other, strict=True))


def _weights(recipe: Recipe, task: Task, spec: PolicySpec) -> list[Tensor]:
    seeds = _SEEDS if task.stacked else _SEEDS[:1]
    policies = [spec.make(seed) for seed in seeds]
    with unchecked():
        whole = PolicyRun(task, policies, seeds, recipe.policy, method=spec.loss(task.method))
        while not whole.run.finished:
            whole.advance()
    # Bits, so that a student that is not a number equals itself.
    return [value.detach().cpu().view(torch.uint8) for value in whole.run.students.parameters()]


@contextmanager
def _false_labels(data: Dataset) -> Iterator[None]:
    right = data.targets.clone()
    data.targets.add_(1).remainder_(data.classes)
    try:
        yield
    finally:
        data.targets.copy_(right)
