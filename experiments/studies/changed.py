"""Policies whose choices are changed before they are used: what is left of a gain tells what it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from rltemp import TemperaturePolicy, Temperatures
from rltemp.distillation import Task
from rltemp.distillation.teacher import Answers
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe

__all__ = ["Change", "Changed", "accuracy", "averaged", "dealt"]

Change = Callable[[Temperatures], Temperatures]


class Changed(TemperaturePolicy):
    """A policy whose choices for a batch are changed before they are used.

    Args:
        policy: what chooses.
        change: of what it chose for one student's batch.
    """

    over_batch = True

    def __init__(self, policy: TemperaturePolicy, change: Change) -> None:
        super().__init__()
        self.policy, self.change = policy, change
        self.needs, self.weighs_labels = policy.needs, policy.weighs_labels

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """The policy's choices, changed."""
        return self.change(self.policy(student_logits, teacher_logits, targets, progress, alignment))


def dealt(chosen: Temperatures) -> Temperatures:
    """The same choices, each to the next instance of the batch: how many of which, but not whose."""
    return chosen.map(lambda values: values.roll(1))


def averaged(chosen: Temperatures) -> Temperatures:
    """The geometric mean of each number for all instances of the batch."""
    return chosen.map(lambda values: torch.full_like(values, float(values.log().mean().exp())))


def accuracy(
    recipe: Recipe,
    task: Task,
    policy: TemperaturePolicy,
    seeds: Sequence[int],
    teacher: Answers,
    weights: Mapping[str, float] | None = None,
) -> FloatArray:
    """Test accuracies in [0, 1] of students under a policy, one per seed, in the loss's `weights` or the recipe's."""
    spec = PolicySpec("policy", "policy", "trained", lambda seed: policy, weights=weights or {})
    return evaluate_policy(recipe, task, spec, seeds, teacher, NoProgress()).accuracy
