"""What it saves to train students side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from rltemp.distillation.minibatches import Minibatch
from rltemp.experiments.bench.kd_steps import default_recipe, kd_steps
from rltemp.experiments.bench.section import Row, Section
from rltemp.experiments.bench.timing import interleave
from rltemp.recipes import Recipe
from rltemp.tasks import build_task

__all__ = ["measure"]


def measure(seconds: float, recipe: Recipe | None = None) -> Section:
    """One update of K students as a population against one update of each of K runs: the same work."""
    recipe = recipe or default_recipe()
    task, students = build_task(recipe), recipe.agent.students

    nobody = _Nobody(task.training.classes)
    times = interleave(
        {
            "population": kd_steps(task, students),
            "runs": _in_turn([kd_steps(task, 1) for _ in range(students)]),
            "population alone": kd_steps(task, students, nobody),
            "runs alone": _in_turn([kd_steps(task, 1, nobody) for _ in range(students)]),
        },
        seconds,
    )
    rows = (
        Row.of("population", times["population"], times["runs"] / times["population"]),
        Row.of(
            "the same without the teacher",
            times["population alone"],
            times["runs alone"] / times["population alone"],
        ),
    )
    return Section(f"population: {students} students side by side", "times as fast as one by one", rows)


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
