"""What it saves to train students side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rltemp.distillation.minibatches import Minibatch
from rltemp.distillation.task import Task
from rltemp.distillation.teacher import Answers
from rltemp.experiments.bench.kd_steps import default_recipe, kd_steps
from rltemp.experiments.bench.section import AtLeast, Row, Section
from rltemp.experiments.bench.timing import interleave
from rltemp.recipes import Recipe
from rltemp.tasks import build_task

__all__ = ["measure"]


def measure(seconds: float, recipe: Recipe | None = None, paired: int = 64) -> Section:
    """One update of K students as a population against one update of each of K runs: the same work.

    Students are paired when policies are compared: each policy trains students with the same seeds, hence on the same
    images, and the teacher's logits for them are recorded once. Both sides then read these.

    Args:
        seconds: about how long the comparison may take.
        recipe: by default the digits of `default_recipe`.
        paired: K of the paired students; the others are as many as the recipe's agent has.
    """
    recipe = recipe or default_recipe()
    task, students = build_task(recipe), range(recipe.agent.students)
    nobody, pairs = _Nobody(task.training.classes), range(paired)
    times = interleave(
        {
            "population": kd_steps(task, students),
            "runs": _in_turn([kd_steps(task, [seed]) for seed in students]),
            "population alone": kd_steps(task, students, nobody),
            "runs alone": _in_turn([kd_steps(task, [seed], nobody) for seed in students]),
            "paired population": kd_steps(task, pairs, _recorded(task, pairs)),
            "paired runs": _in_turn([kd_steps(task, [seed], _recorded(task, [seed])) for seed in pairs]),
        },
        seconds,
    )
    rows = (
        Row.of(f"{len(students)} students", times["population"], times["runs"] / times["population"]),
        Row.of(
            "the same without the teacher",
            times["population alone"],
            times["runs alone"] / times["population alone"],
        ),
        Row.of(
            f"{paired} paired students, the teacher's logits recorded",
            times["paired population"],
            times["paired runs"] / times["paired population"],
            AtLeast(20.0),
        ),
    )
    return Section("population: students side by side", "times as fast as one by one", rows)


def _recorded(task: Task, seeds: Sequence[int]) -> Answers:
    """The teacher's logits for everything that the students with these seeds see in a run."""
    answers, minibatches = task.teacher.recorded(), task.minibatches(seeds)
    for step in range(task.steps):
        answers.answer(step, minibatches.draw())
    return answers


@dataclasses.dataclass(frozen=True)
class _Nobody:
    """A teacher that costs nothing: logits of zero for all C classes."""

    classes: int

    def answer(self, step: int, minibatch: Minibatch) -> Tensor:
        return torch.zeros(*minibatch.targets.shape, self.classes)


def _in_turn(steps: list[Callable[[], None]]) -> Callable[[], None]:
    def every() -> None:
        for step in steps:
            step()

    return every
