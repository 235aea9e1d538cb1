"""Which learning rate suits T = 4 on every task that a policy for many is trained on?

uv run python -m rltemp.experiments.studies.rates

A policy that chooses weights can mend a learning rate with them. Where the tasks of its training have rates that suit
nothing, that is what it learns, and it goes on mending on tasks whose rates were tuned. For every task of the recipe
`general`, or of another with `--recipe`, students are trained at T = 4 with T^2, labels at a weight of 0.1 and of 1, at
rates around the recipe's own; printed is the rate with the fewest wrong validation images, beside the recipe's.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from functools import cache

import torch

from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.studies.by_hand import Setting
from rltemp.experiments.studies.general import RECIPES, errors_on
from rltemp.recipes import Recipe, load_recipe, vary

LABELS = (0.1, 1.0)
"""Weights of the label, of those among which the arena tunes a recipe."""
STEP = 1.6
"""Of the grid of learning rates."""
_NEAR, _FARTHEST = 3, 6
"""Steps that are always taken either way, and those to which it goes on."""


def main() -> None:
    """Measure and print, task by task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default="general", choices=RECIPES, help="whose tasks (default: %(default)s)")
    parser.add_argument("--runs", default="runs", help="folder of all runs (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(options.recipe)
    tasks = build_all(NamedRecipe(options.recipe, recipe), options.runs)
    print("| task | recipe's rate | wrong | best rate | wrong |\n|---|---|---|---|---|")
    with progress("tasks", len(tasks)) as display:
        for number, (own, task) in enumerate(zip(vary(recipe), tasks, strict=True)):
            errors = errors_at(recipe, task)
            best, rate = suited(errors, own.optimization.lr), own.optimization.lr
            cells = [f"{number}: {own.data.name}", f"{rate:.2g}", f"{errors(rate):.1f}", f"{best:.2g}"]
            print(f"| {' | '.join(cells)} | {errors(best):.1f} |", flush=True)
            display.advance()


def errors_at(recipe: Recipe, task: Task) -> Callable[[float], float]:
    """Measures the wrong validation images of a task in percent at a learning rate, T = 4, and the better of `LABELS`.

    Each rate is measured once.
    """
    policies = [Setting(4.0, 0.0, 0.0, label).policy(recipe) for label in LABELS]

    @cache
    def errors(rate: float) -> float:
        there = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, lr=rate))
        measured = errors_on(recipe, [there])
        return min(float(measured(policy)[0]) for policy in policies)

    return errors


def suited(errors: Callable[[float], float], start: float) -> float:
    """The rate with the smallest errors on a grid around `start`, and farther where they still fall at its edge."""

    def at(step: int) -> float:
        return errors(start * STEP**step)

    best = min(range(-_NEAR, _NEAR + 1), key=at)
    side = 1 if best > 0 else -1
    while _NEAR <= abs(best) < _FARTHEST and at(best + side) < at(best):
        best += side
    return start * STEP**best


if __name__ == "__main__":
    main()
