"""What credit for some updates alone loses, against the credit of all: rank correlation over a minibatch's instances.

    uv run python -m rltemp.experiments.studies.credit_sampling [--seeds N]

Students of digits-short run at T = 4. The effect of a hotter temperature on the last loss is known of every instance of
every update once all are credited, and again with a window at the end of the run or every n-th update alone. Spearman's
correlation of the two is printed by quarter of the run, mean over seeds +- its standard error; a quarter without a
credited update has a dash. Students are the recipe's perceptrons, and networks with convolutions and batch
normalization. Whether the credit of all updates says what a temperature does is what `credit_horizon` measures.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from rltemp.distillation import Task
from rltemp.envs.credit_plan import CreditPlan
from rltemp.envs.episode import Episode
from rltemp.experiments.studies.credit_horizon import USUAL, action
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task

Floats = npt.NDArray[np.floating]

OCTAVES, QUARTERS = 0.25, 4
STUDENTS: dict[str, dict[str, Any]] = {
    "perceptrons": {},
    "batch normalization": {
        "student": {"name": "cnn", "options": {"channels": [8, 16]}},
        "optimization": {"lr": 0.1},
    },
}
PLANS: dict[str, dict[str, Any]] = {
    "checkpoints: auto": {"checkpoints": "auto"},
    "window: 0.25": {"window": 0.25},
    "credit_every: 2": {"credit_every": 2},
    "credit_every: 4": {"credit_every": 4},
    "credit_every: 8": {"credit_every": 8},
}


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5, help="students per row (default: %(default)s)")
    seeds = range(parser.parse_args().seeds)
    torch.set_num_threads(1)
    quarters = " | ".join(f"quarter {q + 1}" for q in range(QUARTERS))
    print(f"| students | agent's setting | updates credited | {quarters} |\n{'|---' * (QUARTERS + 3)}|")
    for name, changes in STUDENTS.items():
        recipe = load_recipe("digits-short", changes)
        task = build_task(recipe)
        whole = [effects(recipe, task, seed, {}) for seed in seeds]
        for setting, agent in PLANS.items():
            plan = CreditPlan.of(dataclasses.replace(recipe.agent, **agent), task.steps)
            agreed = [
                agreement(full, effects(recipe, task, seed, agent), plan.credits)
                for seed, full in zip(seeds, whole, strict=True)
            ]
            cells = [cell(np.array(quarter)) for quarter in zip(*agreed, strict=True)]
            print(f"| {name} | {setting} | {plan.credited} of {task.steps} | {' | '.join(cells)} |", flush=True)


def effects(recipe: Recipe, task: Task, seed: int, agent: dict[str, Any]) -> Floats:
    """Effect of an octave hotter on the last loss, [updates, B]."""
    settings = dataclasses.replace(recipe.agent, **{"credit": "hindsight", "reward_every": task.steps, **agent})
    episode = Episode(task, dataclasses.replace(recipe, agent=settings), [seed])
    usual = np.full((1, recipe.optimization.batch_size), action(USUAL, recipe), np.float32)
    while not episode.finished:
        episode.step(usual)
    known = episode.effects
    assert known is not None
    alternatives = [
        np.full((task.steps, *usual.shape), action(USUAL * 2.0**octaves, recipe), np.float32)
        for octaves in (OCTAVES, -OCTAVES)
    ]
    hotter, colder = known.of(np.stack(alternatives))
    difference: Floats = (hotter - colder)[:, 0] / (2 * OCTAVES)
    return difference


def agreement(whole: Floats, some: Floats, credited: Callable[[int], bool]) -> list[float]:
    """Mean rank correlation over the credited updates of each quarter; NaN for a quarter without."""
    of_quarters = []
    for part in np.array_split(np.arange(len(whole)), QUARTERS):
        ranks = [stats.spearmanr(whole[update], some[update]).statistic for update in part if credited(int(update))]
        of_quarters.append(float(np.mean(ranks)) if ranks else float("nan"))
    return of_quarters


def cell(values: Floats) -> str:
    """Mean and standard error over seeds."""
    return "-" if np.isnan(values).any() else f"{values.mean():+.2f} ± {stats.sem(values):.2f}"


if __name__ == "__main__":
    main()
