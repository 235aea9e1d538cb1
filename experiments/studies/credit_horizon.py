"""Does an instance's credit say what its temperature does? Credit against the truth, by re-running the update.

    uv run python -m rltemp.experiments.studies.credit_horizon

B + 1 identical students run side by side at T = 4. At one update, student i gets another temperature for its instance i
alone, and the last student keeps T = 4: the difference of their probe losses is the true effect of that temperature,
right after the update and, run on at T = 4, at the end of the run. It is compared with what a calibration pays for the
change, or says of it in hindsight, by Spearman's rank correlation over the instances of a batch; mean over seeds +- its
standard error.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from rltemp.agents import Calibration, Influence, Trainer
from rltemp.distillation import Task
from rltemp.envs import DistillationVectorEnv
from rltemp.envs.episode import Episode
from rltemp.recipes import Recipe, load_recipe
from rltemp.recipes.schema import Credit
from rltemp.tasks import build_task
from rltemp.temperatures import temperature_to_action

Floats = npt.NDArray[np.floating]

SEEDS = range(1000, 1005)
MOMENTS = (5, 45, 85)
CHANGED = (1.0, 16.0)
USUAL = 4.0
ROLLOUTS = 8


def main() -> None:
    torch.set_num_threads(1)
    recipe = load_recipe("digits-short")
    task = build_task(recipe)
    calibrations = {"influence": Influence(1.0), "redistribution": learned(recipe, task)}
    columns = [f"{name}, {when}" for name in (*calibrations, "hindsight") for when in ("right after", "at the end")]
    print(f"| update | T {USUAL:g} to | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 2)}")
    for moment in MOMENTS:
        for temperature in CHANGED:
            rows = np.array([measure(recipe, task, calibrations, seed, moment, temperature) for seed in SEEDS])
            cells = [f"{mean:+.2f} ± {error:.2f}" for mean, error in zip(rows.mean(0), stats.sem(rows), strict=True)]
            print(f"| {moment} | {temperature:g} | {' | '.join(cells)} |", flush=True)


def learned(recipe: Recipe, task: Task) -> Calibration:
    """Redistribution, fitted in a training of its own."""
    recipe = with_credit(recipe, "redistribution")
    env = DistillationVectorEnv(recipe.agent.students * recipe.optimization.batch_size, recipe, task=task)
    trainer = Trainer(env, recipe.agent)
    for _ in range(ROLLOUTS):
        trainer.rollout()
    return trainer.calibration


def with_credit(recipe: Recipe, credit: Credit) -> Recipe:
    """The recipe with another credit for its agent."""
    return dataclasses.replace(recipe, agent=dataclasses.replace(recipe.agent, credit=credit))


def measure(
    recipe: Recipe, task: Task, calibrations: dict[str, Calibration], seed: int, moment: int, temperature: float
) -> list[float]:
    """Rank correlation of each calibration's pay, then of hindsight, with the effect right after and at the end."""
    batch = recipe.optimization.batch_size
    episode = Episode(task, with_credit(recipe, "influence"), [seed] * (batch + 1))
    usual = np.full((batch + 1, batch), action(USUAL, recipe), dtype=np.float32)
    changed = usual.copy()
    np.fill_diagonal(changed, action(temperature, recipe))
    for _ in range(moment):
        episode.step(usual)
    transition = episode.step(changed)
    gained = transition.reward.astype(np.float64)
    right_after = gained - gained[-1]
    while not episode.finished:
        gained = gained + episode.step(usual).reward
    truths = (right_after[:-1], (gained - gained[-1])[:-1])
    pays = [pay(calibration.calibrate(transition)) for calibration in calibrations.values()]
    pays.append(in_hindsight(recipe, task, seed, moment, temperature))
    return [float(stats.spearmanr(paid, truth).statistic) for paid in pays for truth in truths]


def in_hindsight(recipe: Recipe, task: Task, seed: int, moment: int, temperature: float) -> Floats:
    """What the run at T = 4 says of the change of each instance, once it is over, [B]."""
    episode = Episode(task, with_credit(recipe, "hindsight"), [seed])
    usual = np.full((task.steps, 1, recipe.optimization.batch_size), action(USUAL, recipe), dtype=np.float32)
    for actions in usual:
        episode.step(actions)
    assert episode.effects is not None
    changed = np.full_like(usual, action(temperature, recipe))
    effects: Floats = episode.effects.of(changed) - episode.effects.of(usual)
    of_moment: Floats = effects[moment, 0]
    return of_moment


def pay(rewards: Floats) -> Floats:
    """What each changed instance is paid beyond its batch, against the same instance unchanged, [B]."""
    beyond = rewards - rewards.mean(axis=1, keepdims=True)
    difference: Floats = np.diagonal(beyond) - beyond[-1]
    return difference


def action(temperature: float, recipe: Recipe) -> float:
    return float(temperature_to_action(torch.tensor(temperature), recipe.policy.low, recipe.policy.high))


if __name__ == "__main__":
    main()
