"""One setting on a few students, scored on validation data alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import torch

from rltemp.checks import unchecked
from rltemp.distillation import score
from rltemp.errors import DivergenceError
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.experiments.evaluation.units import side_by_side
from rltemp.recipes import Recipe

if TYPE_CHECKING:
    from rltemp.experiments.evaluation.agent_specs import AgentSpec

__all__ = ["Validation", "combine", "validate"]


class Validation(NamedTuple):
    """Means over the students.

    Attributes:
        accuracy: on the validation images, in [0, 1].
        nll: cross-entropy on them in nats; infinite where a student's is no finite number.
    """

    accuracy: float
    nll: float


def validate(tasks: TaskCache, recipe: Recipe, spec: PolicySpec | AgentSpec, seeds: Sequence[int]) -> Validation:
    """Distill students under a policy, and score their last epoch on the validation images; no test image is seen.

    Args:
        tasks: makes the recipe's task, or has it.
        recipe: the setting.
        spec: the policy, or an agent that learns in the run.
        seeds: of the students, side by side if they stack, else one after the other.
    """
    groups = side_by_side(seeds, tasks.task(recipe).stacked and isinstance(spec, PolicySpec))
    return combine([_score(tasks, recipe, spec, group) for group in groups])


def combine(parts: Sequence[Validation]) -> Validation:
    """The means over all students, from those of groups of equal size."""
    accuracy, nll = (torch.tensor(values) for values in zip(*parts, strict=True))
    return Validation(float(accuracy.mean()), float(nll.mean()))


def _score(tasks: TaskCache, recipe: Recipe, spec: PolicySpec | AgentSpec, seeds: tuple[int, ...]) -> Validation:
    task = tasks.task(recipe)
    sealed = dataclasses.replace(task, test=task.validation)
    teacher = tasks.answers(recipe, task, seeds)
    # A student that diverges gets the score that it has: bad enough to be chosen by nobody.
    with unchecked(), suppress(DivergenceError):
        whole = spec.start(sealed, seeds, recipe.policy, teacher)
        while not whole.run.finished:
            whole.advance()
    scores = score(whole.run.students, sealed.validation, sealed.augmentation)
    nll = scores.nll.nan_to_num(nan=torch.inf, posinf=torch.inf)
    return Validation(float(scores.accuracy.mean()), float(nll.mean()))
