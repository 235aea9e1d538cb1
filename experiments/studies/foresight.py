"""Can a policy foresee what a temperature does to the end of a run? The effect in hindsight against what it sees.

    uv run python -m rltemp.experiments.studies.foresight                    on digits
    uv run python -m rltemp.experiments.studies.foresight --cifar data/cifar100      and one epoch of cifar100-cpu

Students run at T = 4 for all. At the end, every instance's effect of a hotter temperature on the last loss is known to
first order. A linear model of the features is fitted to it on every other update; its correlation with the effect at
the updates between is printed by quarter of the run, mean over seeds +- its standard error. Beside it stands the mean
effect in units of its root mean square: what instances have in common, and a schedule can use.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from rltemp.distillation import Task
from rltemp.envs.episode import Episode
from rltemp.experiments.studies.credit_horizon import USUAL, action
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task

Floats = npt.NDArray[np.floating]

SEEDS = range(3)
OCTAVES = 0.25
QUARTERS = 4


def main() -> None:
    """Run, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cifar", metavar="FOLDER", help="CIFAR-100, to be looked at as well")
    parser.add_argument("--cache", default="runs", help="folder of kept teachers (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings: list[tuple[str, int, dict[str, Any]]] = [("digits-short", 16, {})]
    if options.cifar:
        short = {"data.path": options.cifar, "optimization.epochs": 1, "data.validation": 1000}
        settings.append(("cifar100-cpu", 1, short))
    print(f"| recipe | scale | what | {' | '.join(f'quarter {q + 1}' for q in range(QUARTERS))} |")
    print(f"|{'---|' * (QUARTERS + 3)}")
    for name, students, overrides in settings:
        task = build_task(load_recipe(name, overrides), cache=options.cache)
        for scale in (None, 16.0):
            recipe = load_recipe(name, {**overrides, "policy.scale": scale})
            measured = np.array([measure(recipe, task, students, seed) for seed in SEEDS])
            for row, what in enumerate(("foreseen by features", "common to all instances")):
                cells = [
                    f"{mean:+.2f} ± {error:.2f}"
                    for mean, error in zip(measured[:, row].mean(0), stats.sem(measured[:, row]), strict=True)
                ]
                print(f"| {name} | {scale or 'T²'} | {what} | {' | '.join(cells)} |", flush=True)


def measure(recipe: Recipe, task: Task, students: int, seed: int) -> Floats:
    """By quarter: correlation of the fit with held-out effects, and the mean effect over its size; [2, quarters]."""
    features, effects = play(recipe, task, range(seed * students, (seed + 1) * students))
    rows = []
    for seen, effect in zip(np.array_split(features, QUARTERS), np.array_split(effects, QUARTERS), strict=True):
        # Effects shrink by orders of magnitude along a run: every update counts the same.
        size = np.sqrt(np.square(effect).mean((1, 2), keepdims=True))
        unit = np.clip(effect / size, -3.0, 3.0)
        rows.append((foreseen(seen, unit), float(unit.mean())))
    return np.array(rows).T


def play(recipe: Recipe, task: Task, seeds: range) -> tuple[Floats, Floats]:
    """What was seen, [updates, K, B, F], and the effect of an octave hotter, [updates, K, B]."""
    agent = dataclasses.replace(recipe.agent, credit="hindsight", reward_every=task.steps)
    episode = Episode(task, dataclasses.replace(recipe, agent=agent), seeds)
    seen = [episode.observation]
    usual = np.full(seen[0].shape[:2], action(USUAL, recipe), np.float32)
    while not episode.finished:
        episode.step(usual)
        seen.append(episode.observation)
    effects = episode.effects
    assert effects is not None
    hotter, colder = (
        effects.of(np.broadcast_to(action(USUAL * 2.0**change, recipe), (task.steps, *usual.shape)))
        for change in (OCTAVES, -OCTAVES)
    )
    return np.stack(seen[:-1]), (hotter - colder) / (2 * OCTAVES)


def foreseen(features: Floats, effects: Floats) -> float:
    """Correlation of a linear fit on even updates with the effects at odd ones."""
    inputs = [
        np.column_stack([part.reshape(-1, part.shape[-1]), np.ones(part[..., 0].size)])
        for part in (features[::2], features[1::2])
    ]
    weights, *_ = np.linalg.lstsq(inputs[0], effects[::2].ravel(), rcond=None)
    return float(np.corrcoef(inputs[1] @ weights, effects[1::2].ravel())[0, 1])


if __name__ == "__main__":
    main()
