"""Softness or weight? An agent trained for either alone, beside one for both.

    uv run python benchmarks/apart.py

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
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rltemp import LearnedPolicy, TemperaturePolicy, Temperatures, make_policy
from rltemp.agents import train_policy
from rltemp.distillation import Task, TeacherRecord, build_task, score
from rltemp.distillation.loop import PolicyRun
from rltemp.distillation.method import Method
from rltemp.experiments.comparison import points
from rltemp.experiments.results import FloatArray
from rltemp.experiments.specs import STATIC_GRID
from rltemp.experiments.statistics import crossed_difference
from rltemp.experiments.train import validation_score
from rltemp.objectives import kd_loss
from rltemp.recipes import Recipe, load_recipe

UNSEEN = {"data.split_seed": 1, "teacher.seed": 1, "student.options": {"hidden": [24]}}
AGENTS = range(3)
STUDENTS = range(64)
USUAL = 4.0


@dataclasses.dataclass(frozen=True)
class Softness:
    """KD whose instances all have the factor of the usual temperature."""

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        """The loss per instance, [B]."""
        factor = torch.full_like(temperatures.scale, USUAL**2)
        return kd_loss(student_logits, teacher_logits, Temperatures(temperatures.teacher, temperatures.student, factor))


@dataclasses.dataclass(frozen=True)
class Weight:
    """KD whose instances all have the softness of the usual temperature."""

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        """The loss per instance, [B]."""
        usual = torch.full_like(temperatures.student, USUAL)
        return kd_loss(student_logits, teacher_logits, Temperatures(usual, usual, temperatures.scale))


class SoftnessTask(Task):
    """A task whose temperatures are softness alone."""

    @property
    def method(self) -> Method:
        """With `Softness` as distillation term."""
        return dataclasses.replace(super().method, objective=Softness())


class WeightTask(Task):
    """A task whose temperatures are weights alone."""

    @property
    def method(self) -> Method:
        """With `Weight` as distillation term."""
        return dataclasses.replace(super().method, objective=Weight())


def main() -> None:
    """Train, judge, print."""
    torch.set_num_threads(1)
    recipe, unseen = load_recipe("digits-short"), load_recipe("digits-short", UNSEEN)
    task, elsewhere = build_task(recipe), build_task(unseen)
    record = TeacherRecord(elsewhere.ask_teacher)
    print("| an agent for | points over T = 4 | over the best T for all |\n|---|---|---|")
    for name, kind in (("both", Task), ("softness", SoftnessTask), ("weight", WeightTask)):
        source, target = as_kind(kind, task), as_kind(kind, elsewhere)
        policies = [train(recipe, source, seed) for seed in AGENTS]
        gained = np.stack([judge(target, unseen, policy, record).test for policy in policies])
        static = {t: judge(target, unseen, make_policy("static", temperature=t), record) for t in STATIC_GRID}
        best = max(static, key=lambda t: static[t].validation)
        gains = [points(crossed_difference(gained, static[t].test, 0.95)) for t in (USUAL, best)]
        print(f"| {name} | {gains[0]} | T = {best:g}: {gains[1]} |", flush=True)


def as_kind(kind: type[Task], task: Task) -> Task:
    return kind(**{field.name: getattr(task, field.name) for field in dataclasses.fields(task)})


def train(recipe: Recipe, task: Task, seed: int) -> LearnedPolicy:
    """As `rltemp train` does it."""
    recipe = dataclasses.replace(recipe, agent=dataclasses.replace(recipe.agent, seed=seed))
    return train_policy(recipe, task=task, score=validation_score(recipe, [task]))


class Judged(NamedTuple):
    """Mean accuracy on validation images, and accuracy of every student on test images."""

    validation: float
    test: FloatArray


def judge(task: Task, recipe: Recipe, policy: TemperaturePolicy, record: TeacherRecord) -> Judged:
    """How good students are after their run."""
    whole = PolicyRun(task, [policy] * len(STUDENTS), STUDENTS, recipe.policy, teacher_logits=record)
    while not whole.run.finished:
        whole.advance()
    validation, test = (score(whole.run.students, data, task.augmentation) for data in (task.validation, task.test))
    return Judged(float(validation.accuracy.mean()), test.accuracy.numpy())


if __name__ == "__main__":
    main()
