"""Whether a policy reads labels that are held out: false ones must change nothing that it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rltemp.checks import unchecked
from rltemp.data import Dataset
from rltemp.distillation import Task
from rltemp.errors import DivergenceError
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.recipes import Recipe

if TYPE_CHECKING:
    from rltemp.experiments.evaluation.agent_specs import AgentSpec

__all__ = ["reads_held_out_labels"]

_SEEDS = (0, 1)


def reads_held_out_labels(recipe: Recipe, task: Task, spec: PolicySpec | AgentSpec) -> bool:
    """Whether students under a policy come out differently when validation and test labels are false.

    An agent that learns in the run is paid by validation images, as every search of a reference is: of its labels those
    of the test images alone are false.

    Labels are changed in place, so that a policy sees the false ones however it got at the data of this task. Data that
    it read from elsewhere it keeps; that is for `rltemp.experiments.arena.freshness` to find.

    Args:
        recipe: the setting.
        task: what it builds; as before afterwards.
        spec: the policy.
    """
    honest = _weights(recipe, task, spec)
    hidden = (task.validation, task.test) if isinstance(spec, PolicySpec) else (task.test,)
    with ExitStack() as stack:
        for data in hidden:
            stack.enter_context(_false_labels(data))
        other = _weights(recipe, task, spec)
    return any(not torch.equal(a, b) for a, b in zip(honest, other, strict=True))


def _weights(recipe: Recipe, task: Task, spec: PolicySpec | AgentSpec) -> list[Tensor]:
    seeds = _SEEDS if task.stacked and isinstance(spec, PolicySpec) else _SEEDS[:1]
    with unchecked(), suppress(DivergenceError):
        whole = spec.start(task, seeds, recipe.policy)
        while not whole.run.finished:
            whole.advance()
    # Bits, so that a student that is not a number equals itself.
    return [value.detach().cpu().contiguous().view(torch.uint8) for value in whole.run.students.parameters()]


@contextmanager
def _false_labels(data: Dataset) -> Iterator[None]:
    right = data.targets.clone()
    data.targets.add_(1).remainder_(data.classes)
    try:
        yield
    finally:
        data.targets.copy_(right)
