"""What carries a policy for tasks it never saw: each part left out or replaced, at equal student runs.

uv run python -m rltemp.experiments.studies.general --data FOLDER

Trains every arm on the tasks of the recipe `general`, or of `general-kd` with `--recipe`, and prints what share of
their validation images is wrong with it. Then it judges all arms by `rltemp arena` on data sets that none was trained
on, and prints points of test accuracy lost to the reference tuned on each task; `--trained-on` leaves that out. What is
finished is kept, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from rltemp.agents.selection import FIRST_SEED, validation_losses
from rltemp.distillation import Task
from rltemp.errors import DivergenceError, InputError
from rltemp.experiments.arena.outcome import Cell
from rltemp.experiments.cli import main as rltemp
from rltemp.experiments.commands.train_command import train
from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.evaluation.statistics import mean_interval, paired_difference
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.studies.regrets import in_points, worst_of
from rltemp.policies import TemperaturePolicy, make_policy
from rltemp.policies.artifact import load_policy
from rltemp.recipes import Recipe, change_recipe, load_recipe

RECIPES = ("general", "general-kd")
JUDGED_ON = ("fashion", "spoken-digits", "news")
CONDITIONS = ("clean", "noise30", "weak-teacher", "missing-classes")
STUDENTS = 4
"""By which a policy is judged on each task that it was trained on."""
_COLDER = (2.0, 1.0)
"""Static temperatures beside T = 4 there."""


class Arm(NamedTuple):
    """How an arm differs from the recipe.

    Attributes:
        changes: values of the recipe.
        features: those of the recipe that it sees, by how their names begin; all of them if empty.
    """

    changes: Mapping[str, Any] = MappingProxyType({})
    features: tuple[str, ...] = ()


_INSTANCE = ("teacher_", "student_", "divergence", "agreement")
# PPO of the same network and actions, paid at the end of a run for all that is judged. Its noise is as large as that of
# evolution, which divides it by the root of the 29 features; an update goes about as far as evolution's step.
_PPO = {
    **{"agent.learner": "ppo", "agent.log_std_init": -3.43, "agent.learning_rate": 1e-3, "agent.target_kl": 0.01},
    **{"agent.gae_lambda": 1.0, "agent.baseline": "twin", "agent.anneal": True, "agent.whiten": True},
}
_HINDSIGHT = {"agent.objective": "soft-error", "agent.credit": "hindsight"}

ARMS = {
    "evolution": Arm(),
    "batch alone": Arm(features=("progress", "batch_")),
    "instances alone": Arm(features=("progress", *_INSTANCE)),
    "without classes": Arm(features=("progress", *_INSTANCE, "batch_")),
    "progress alone": Arm(features=("progress",)),
    "temperature alone": Arm({"policy.scale_range": [], "policy.label_range": []}),
    "labels as they are": Arm({"policy.label_range": []}),
    "labels weighed": Arm({"policy.label_range": [0.125, 8.0]}),
    "16 hidden units": Arm({"agent.hidden": [16]}),
    "paid in nll": Arm({"agent.objective": "nll"}),
    "paid in soft error": Arm({"agent.objective": "soft-error"}),
    "PPO on returns": Arm(_PPO),
    "PPO of features as they are": Arm({**_PPO, "agent.whiten": False}),
    "PPO with a critic": Arm({**_PPO, "agent.baseline": "critic"}),
    "PPO at a constant rate": Arm({**_PPO, "agent.anneal": False}),
    "PPO by redistribution": Arm({**_PPO, "agent.credit": "redistribution"}),
    "PPO by hindsight": Arm({**_PPO, **_HINDSIGHT}),
    "descent": Arm({"agent.learner": "descent", "agent.learning_rate": 3e-3, **_HINDSIGHT}),
}


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arms", default=",".join(ARMS), help="which of them (default: all)")
    parser.add_argument("--recipe", default="general", choices=RECIPES, help="what is changed (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each arm, 1 to 10 (default: %(default)s)")
    parser.add_argument("--rollouts", type=int, default=730, help="of each training (default: %(default)s)")
    parser.add_argument("--data", default="data", help="as of rltemp arena (default: %(default)s)")
    parser.add_argument("--runs", default="runs", help="folder of all runs (default: %(default)s)")
    parser.add_argument("--trained-on", action="store_true", help="judge on the tasks of the training alone")
    options = parser.parse_args()
    arms = options.arms.split(",")
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise InputError(f"--arms must be of {', '.join(ARMS)}, got {unknown[0]!r}")
    if not 1 <= options.seeds <= 10:
        raise InputError(f"--seeds must be 1 to 10, got {options.seeds}")
    trainings = Trainings(Path(options.runs, options.recipe), options.seeds, options.rollouts)
    tasks = build_all(NamedRecipe(options.recipe, load_recipe(options.recipe)), options.runs)
    diverged = [arm for arm in arms if not _train(arm, trainings, tasks)]
    arms = [arm for arm in arms if arm not in diverged]
    print(of_training(arms, trainings, tasks))
    if options.trained_on:
        return
    words = [word for arm in arms for word in _to_judge(arm, trainings)]
    where = ["--conditions", ",".join(CONDITIONS), "--budgets", "1", "--methods", "spread", "--data", options.data]
    if rltemp(["arena", *JUDGED_ON, *where, *words, "--runs", options.runs]) == 0:
        print(table(Path(options.runs, "arena", "arena.csv"), arms, trainings))
        print("".join(f"{arm}: its training diverges\n" for arm in diverged))


class Trainings(NamedTuple):
    """Trainings of arms, and where they are.

    Attributes:
        root: folder of all trainings of a recipe, which has the recipe's name.
        seeds: how many of each arm.
        rollouts: of each.
    """

    root: Path
    seeds: int
    rollouts: int

    def folders(self, arm: str) -> list[Path]:
        """One for each training of an arm."""
        name = arm.lower().replace(",", "").replace(" ", "-")
        return [self.root / f"{name}-{self.rollouts}-{seed}" for seed in range(self.seeds)]


def table(path: Path, arms: Sequence[str], trainings: Trainings) -> str:
    """Markdown: an arm per row, its mean regret under every condition and over all cells, with its worst."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in ("trained", "single")]
    methods = [*dict.fromkeys(row["method"] for row in rows if row["kind"] == "single"), *arms]
    lines = [f"| Arm | {' | '.join(CONDITIONS)} | Mean | Worst |", f"| :-- |{' --: |' * (len(CONDITIONS) + 1)} :-- |"]
    for method in methods:
        first = trainings.folders(method)[0]
        names = (method, f"{first.parent.name}/{first.name}")  # of several trainings, and of one
        mine = [row for row in rows if row["method"] == method or row["method"].split(" (")[0] in names]
        if mine:
            lines.append(f"| {method} | {' | '.join(_cells(mine))} |")
    return "\n".join(lines)


def _cells(rows: Sequence[Mapping[str, str]]) -> list[str]:
    regrets = {Cell(row["task"], row["condition"], int(row["budget"])): 100 * float(row["regret"]) for row in rows}
    means = [np.mean([lost for cell, lost in regrets.items() if cell.condition == wanted]) for wanted in CONDITIONS]
    whole = mean_interval(list(regrets.values()))
    return [*(f"{mean:+.1f}" for mean in means), in_points(whole), worst_of(regrets)]


def of_training(arms: Sequence[str], trainings: Trainings, tasks: Sequence[Task]) -> str:
    """Markdown: an arm per row, the share of wrong validation images on the tasks that it was trained on.

    All policies are judged on the same students, which none was trained with, so that differences are paired by task;
    intervals are over the tasks.
    """
    recipe = load_recipe(trainings.root.name)
    errors = errors_on(recipe, tasks)
    usual = errors(make_policy("static", temperature=4.0))
    lines = [f"| Arm | Wrong | More than T = 4, T² | More than {arms[0]} | Diverged in training |"]
    lines += ["| :-- | --: | --: | --: | --: |", f"| T = 4, T² | {usual.mean():.1f} | | | |"]
    for temperature in _COLDER:
        each = errors(make_policy("static", temperature=temperature))
        lines.append(f"| T = {temperature:g}, T² | {each.mean():.1f} | {more(each, usual)} | | |")
    first = None
    for arm in arms:
        folders = trainings.folders(arm)
        all_errors = [errors(load_policy(folder / "policy")) for folder in folders]
        each = np.mean(all_errors, axis=0)
        gaps = more(each, usual), "" if first is None else more(each, first)
        first = each if first is None else first
        wrong = " and ".join(f"{one.mean():.1f}" for one in all_errors)
        lines.append(f"| {arm} | {wrong} | {' | '.join(gaps)} | {_lost(folders, recipe.agent.students):.1%} |")
    return "\n".join(lines)


def errors_on(recipe: Recipe, tasks: Sequence[Task]) -> Callable[[TemperaturePolicy], FloatArray]:
    """Measures the share of validation images that are wrong with a policy, in percent, one number for each task.

    Students are the same for every policy, and none was trained with.
    """
    teachers = [task.teacher.recorded() for task in tasks]
    students = range(FIRST_SEED, FIRST_SEED + STUDENTS)

    def errors(policy: TemperaturePolicy) -> FloatArray:
        pairs = zip(tasks, teachers, strict=True)
        each = [validation_losses(policy, recipe, *pair, students).mean() for pair in pairs]
        return 100.0 * torch.stack(each).double().numpy()

    return errors


def more(errors: FloatArray, others: FloatArray) -> str:
    """How much larger errors are than others, paired, with the interval."""
    return in_points(paired_difference(errors, others))


def _lost(folders: Sequence[Path], students: int) -> float:
    """Share of the students of trainings that diverged."""
    counts = []
    for folder in folders:
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
            counts += [float(row["diverged"]) for row in csv.DictReader(file)]
    return float(np.mean(counts)) / students


def _train(arm: str, trainings: Trainings, tasks: Sequence[Task]) -> bool:
    """Train what is not trained yet; whether none of the trainings diverges."""
    root = trainings.root
    for seed, folder in enumerate(trainings.folders(arm)):
        if (folder / "policy").exists():
            continue
        changes = {"agent.rollouts": trainings.rollouts, "agent.seed": seed}
        try:
            train(NamedRecipe(root.name, changed(root.name, arm, changes)), str(root.parent), folder.name, tasks)
        except DivergenceError as error:
            print(f"{arm}, training {seed}: {error}")
            return False
    return True


def changed(recipe: str, arm: str, changes: Mapping[str, Any]) -> Recipe:
    """The recipe as an arm trains in it, with other changes."""
    whole = load_recipe(recipe, {**changes, **ARMS[arm].changes})
    seen = [name for name in whole.policy.features if name.startswith(ARMS[arm].features or "")]
    return change_recipe(whole, {"policy.features": seen})


def _to_judge(arm: str, trainings: Trainings) -> tuple[str, str]:
    """Options of `rltemp arena`."""
    first, *others = trainings.folders(arm)
    pattern = str(first).removesuffix("0") + f"[0-{len(others)}]/policy"
    return ("--trainings", f"{arm}={pattern}") if others else ("--policy", str(first / "policy"))


if __name__ == "__main__":
    main()
