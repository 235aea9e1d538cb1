"""A policy to evaluate, and the runs that it is evaluated in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.teacher import Answers
from rltemp.experiments.evaluation.passes import Passes, count_passes
from rltemp.experiments.evaluation.results import Family
from rltemp.objectives.method import Method
from rltemp.policies.policy import TemperaturePolicy
from rltemp.presets import Preset
from rltemp.recipes import Recipe
from rltemp.recipes.schema import PolicySpace

__all__ = ["PolicySpec"]


@dataclass(frozen=True)
class PolicySpec:
    """A policy to evaluate.

    Attributes:
        name: unique within an evaluation.
        label: what people call it.
        family: what kind of policy it is.
        make: builds one for the student with a given seed.
        group: shared by trainings of one method that differ in the agent's seed.
        method: the loss it comes with; None for the recipe's.
        weights: of the recipe's loss, "kd_weight" and "ce_weight", where they differ from the recipe's.
    """

    name: str
    label: str
    family: Family
    make: Callable[[int], TemperaturePolicy]
    group: str | None = None
    method: Method | None = None
    weights: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def needs_alignment(self) -> bool:
        """Whether its policies cannot do without a probe."""
        return "alignment" in self.make(0).needs

    def passes(self, recipe: Recipe) -> Passes:
        """Per update of one student."""
        return count_passes(recipe, self.needs_alignment)

    def start(self, task: Task, seeds: Sequence[int], space: PolicySpace, teacher: Answers | None = None) -> PolicyRun:
        """A new run of students with these seeds side by side; arguments as those of `PolicyRun`."""
        policies = [self.make(seed) for seed in seeds]
        method = self.loss(task.method, task.optimization.epochs)
        return PolicyRun(task, policies, seeds, space, teacher=teacher, method=method)

    def loss(self, usual: Method, epochs: int | None = None) -> Method:
        """The loss it is used in.

        Args:
            usual: of the task.
            epochs: of the run, which a preset's warm-up follows; None for warm-ups as the papers' share of a run.
        """
        if isinstance(self.method, Preset) and epochs is not None:
            return self.method.for_run(epochs)
        if self.method is not None:
            return self.method
        return replace(usual, **self.weights)
