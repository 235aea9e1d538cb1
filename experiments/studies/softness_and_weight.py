"""Softness or weight? An agent trained for either alone, beside one for both.

    uv run python -m rltemp.experiments.studies.softness_and_weight

A temperature does two things to an instance: it softens both networks' outputs, and through T^2 (times the 1 / T of the
gradient) it weighs the instance's loss. Agents are trained on one split and teacher with

    both        T^2 KL(T), as everywhere
    softness    16 KL(T): all instances have the factor of T = 4
    weight      T^2 KL(4): all instances have the softness of T = 4

and judged on another split, teacher and student with 64 paired students, against T = 4 for all (the same in all three)
and the best of seven temperatures for all, chosen on validation data; 95 % t intervals.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from rltemp import Temperatures
from rltemp.agents import train_policy
from rltemp.distillation import Task
from rltemp.distillation.teacher import Answers
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.specs import PolicySpec, parse_policies
from rltemp.experiments.evaluation.statistics import choose_best, crossed_difference
from rltemp.experiments.report.sentences import points
from rltemp.experiments.studies.ablate import STUDENTS, UNSEEN, factor_alone, softness_alone
from rltemp.experiments.studies.changed import Change
from rltemp.objectives import kd_loss
from rltemp.objectives.method import Method
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task

AGENTS = range(3)
USUAL = "T = 4"
CHANGES: dict[str, Change] = {"both": lambda t: t, "softness": softness_alone, "weight": factor_alone}


@dataclasses.dataclass(frozen=True)
class ChangedKD:
    """KD at changed temperatures."""

    change: Change

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        """The loss per instance, [B]."""
        return kd_loss(student_logits, teacher_logits, self.change(temperatures))


@dataclasses.dataclass(frozen=True, eq=False)
class ChangedTask(Task):
    """A task whose distillation changes the temperatures that it is given."""

    change: Change = CHANGES["both"]

    @classmethod
    def of(cls, task: Task, change: Change) -> ChangedTask:
        """The task, with the change."""
        return cls(**{field.name: getattr(task, field.name) for field in dataclasses.fields(task)}, change=change)

    @property
    def method(self) -> Method:
        """With `ChangedKD` as distillation term."""
        return dataclasses.replace(super().method, objective=ChangedKD(self.change))


def main() -> None:
    """Train, judge, print."""
    torch.set_num_threads(1)
    recipe, unseen = load_recipe("digits-short"), load_recipe("digits-short", UNSEEN)
    task, elsewhere = build_task(recipe), build_task(unseen)
    teacher = elsewhere.teacher.recorded()
    print("| an agent for | points over T = 4 | over the best T for all |\n|---|---|---|")
    for name, change in CHANGES.items():
        target = ChangedTask.of(elsewhere, change)
        agents = [train(recipe, ChangedTask.of(task, change), seed) for seed in AGENTS]
        gained = np.stack([judge(target, unseen, agent, teacher).accuracy for agent in agents])
        static = [judge(target, unseen, spec, teacher) for spec in parse_policies("static")]
        usual, best = next(result for result in static if result.label == USUAL), choose_best(static)
        gains = [points(crossed_difference(gained, reference.accuracy, 0.95)) for reference in (usual, best)]
        print(f"| {name} | {gains[0]} | {best.label}: {gains[1]} |", flush=True)


def train(recipe: Recipe, task: Task, seed: int) -> PolicySpec:
    """As `rltemp train` does it."""
    recipe = dataclasses.replace(recipe, agent=dataclasses.replace(recipe.agent, seed=seed))
    policy = train_policy(recipe, task=task)
    return PolicySpec(f"agent {seed}", "agent", "trained", lambda seed: policy)


def judge(task: Task, recipe: Recipe, spec: PolicySpec, teacher: Answers) -> PolicyResult:
    """A policy on all students."""
    return evaluate_policy(recipe, task, spec, STUDENTS, teacher, NoProgress())


if __name__ == "__main__":
    main()
