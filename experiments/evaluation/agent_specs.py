"""Agents as a person names them: rlkd, rlkd-as-released, or one of them with options, such as rlkd(every=0.5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rltemp.agents import Online, OnlineRun, make_online
from rltemp.distillation import Task
from rltemp.distillation.teacher import Answers
from rltemp.errors import InputError
from rltemp.experiments.evaluation.passes import Passes, count_passes
from rltemp.experiments.evaluation.results import Family
from rltemp.experiments.evaluation.specs import parse_call, split_weights
from rltemp.recipes import Recipe
from rltemp.recipes.schema import PolicySpace

__all__ = ["AgentSpec", "parse_agent"]


@dataclasses.dataclass(frozen=True)
class AgentSpec:
    """An agent that learns in the run that it acts in; stands where a `PolicySpec` does.

    Attributes:
        name: as it was typed.
        online: the settings.
        weights: of the recipe's loss, "kd_weight" and "ce_weight", where they differ from the recipe's.
    """

    name: str
    online: Online
    weights: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    family: ClassVar[Family] = "rule"
    group: ClassVar[None] = None
    needs_alignment: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name

    def passes(self, recipe: Recipe) -> Passes:
        """Per update of one student: the validation images in updates in which the agent is paid by them."""
        roles = self.online.roles(recipe.optimization.epochs)
        paid = roles.count("learns") / len(roles) if self.online.reward != "before-action" else 0.0
        return dataclasses.replace(count_passes(recipe, False), probe_forward=paid * recipe.data.validation)

    def start(self, task: Task, seeds: Sequence[int], space: PolicySpace, teacher: Answers | None = None) -> OnlineRun:
        """A new run of one student, whose seed is the only one of `seeds`.

        Raises:
            InputError: for an agent that cannot learn in such a run, or another number of seeds.
        """
        if len(seeds) != 1:
            raise InputError(f"seeds must be one for an agent that learns in its run, got {len(seeds)}")
        method = dataclasses.replace(task.method, **self.weights)
        return OnlineRun(task, self.online, seeds[0], scale=space.scale, method=method, teacher=teacher)


def parse_agent(text: str) -> AgentSpec:
    """Exactly one agent.

    Raises:
        InputError: for an unknown agent or option, or a value that it does not take.
    """
    name, options = parse_call(text.strip())
    weights, options = split_weights(options)
    return AgentSpec(text.strip(), make_online(name, **options), weights)
