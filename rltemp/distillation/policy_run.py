"""A whole KD run whose temperatures a policy chooses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from rltemp.distillation.feature_term import FeatureTerm
from rltemp.distillation.policy_population import PolicyPopulation
from rltemp.distillation.population_probe import PopulationProbe
from rltemp.distillation.probe_term import ProbeTerm
from rltemp.distillation.run import DistillationRun, ForwardPass
from rltemp.distillation.task import Task
from rltemp.distillation.teacher import Answers
from rltemp.errors import InputError
from rltemp.objectives.method import Method
from rltemp.policies.policy import TemperaturePolicy
from rltemp.recipes.schema import PolicySpace
from rltemp.temperatures import Temperatures

__all__ = ["Observer", "PolicyRun"]

Observer = Callable[[ForwardPass, Temperatures], None]
"""Called before every update with the observation and the chosen temperatures."""


class PolicyRun:
    """A KD run of K students whose temperatures K policies choose; each call of `advance` makes one update.

    Args:
        task: the distillation problem: data, teacher, students, and optimization.
        policies: one per student, of one kind.
        seeds: one per student.
        space: settings of the probe, for policies that need the alignment and for `optimization.probe_weight`.
        teacher: source of the teacher's logits; by default the task's teacher.
        method: the loss to minimize; by default the task's.

    Attributes:
        run: the KD run, with its students.

    Raises:
        InputError: for policies that need the alignment if `space.alignment` is "none", or a position that images have
            not.
    """

    def __init__(
        self,
        task: Task,
        policies: Sequence[TemperaturePolicy],
        seeds: Sequence[int],
        space: PolicySpace,
        *,
        teacher: Answers | None = None,
        method: Method | None = None,
    ) -> None:
        policies = [_materialize(policy, task.training.classes) for policy in policies]
        self._policies = PolicyPopulation(policies).to(task.device)
        self.run = DistillationRun(
            task,
            seeds,
            teacher=teacher,
            trained_with=self._policies,
            method=method,
            features=FeatureTerm.of(task, seeds),
        )
        needed = "alignment" in self._policies.needs
        if needed and space.alignment == "none":
            raise InputError(
                "policy.alignment must be 'classifier' or 'network' for a policy that needs it, got 'none'"
            )
        if "position" in self._policies.needs and task.position is None:
            raise InputError("the task must be of texts for a policy that needs position, got one of images")
        self._probe = PopulationProbe.of(task, space, seeds) if needed else None
        self._term = ProbeTerm.of(task, space, seeds)

    def advance(self, observer: Observer | None = None) -> None:
        """Observe the next minibatch, choose its temperatures, call `observer` with both, and make the update.

        Raises:
            InputError: after the last update.
            DivergenceError: for students whose logits are not finite, or too large to recover.
        """
        observation = self.run.observe()
        temperatures = self._policies(
            observation.student.logits,
            observation.teacher_logits,
            observation.minibatch.targets,
            observation.progress,
            self._probe.alignment(self.run.students, observation) if self._probe is not None else None,
            self.run.task.position,
        )
        if observer is not None:
            observer(observation, temperatures)
        self.run.update(temperatures, self._term.loss(self.run.students) if self._term is not None else None)

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the run depends on: students, policies, optimizer, minibatches, and probes."""
        probe = self._probe.state_dict() if self._probe is not None else None
        term = self._term.state_dict() if self._term is not None else None
        return {"run": self.run.state_dict(), "probe": probe, "term": term}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` of a run with the same task, seeds, and policies returned.

        Raises:
            InputError: for the state of another run, after which this one must be discarded.
        """
        self.run.load_state_dict(state["run"])
        if self._probe is not None:
            self._probe.load_state_dict(state["probe"])
        if self._term is not None:
            self._term.load_state_dict(state["term"])


def _materialize(policy: TemperaturePolicy, classes: int) -> TemperaturePolicy:
    """The policy with all parameters created; lazy ones take their shapes from a batch of `classes` logits."""
    if not any(is_lazy(parameter) for parameter in policy.parameters()):
        return policy
    policy = copy.deepcopy(policy)
    nothing = torch.zeros(1, classes)
    policy(nothing, nothing, torch.zeros(1, dtype=torch.int64))
    return policy
