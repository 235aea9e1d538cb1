"""RLKD online, the form of its public code, and each of that code's flaws alone: what each costs.

    uv run python -m rltemp.experiments.studies.rlkd [RECIPE] [--epochs N] [--students N] [--dry-run]

Paired students on one task, each with an agent of its own; what is finished is kept in --runs, so that an interrupted
study goes on where it stopped. It prints the tables of one recipe and length, puts them into their place in
docs/rlkd.md, and draws the temperatures. `--toy` plays the agents on an environment whose best actions are known.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rltemp.display import progress
from rltemp.distillation import ForwardPass, Students, Task, score
from rltemp.distillation.policy_run import PolicyRun
from rltemp.errors import DivergenceError
from rltemp.experiments.evaluation.agent_specs import parse_agent
from rltemp.experiments.evaluation.specs import STATIC_GRID, parse_policy
from rltemp.experiments.studies.rlkd_page import Outcome, draw, insert, machine, student_table, temperature_table
from rltemp.experiments.studies.rlkd_toy import toy_table
from rltemp.files import atomic_write
from rltemp.recipes import Recipe, dump_recipe, load_recipe
from rltemp.tasks import build_task
from rltemp.temperatures import Temperatures

STATIC = {f"T = {t:g}": f"static(temperature={t:g})" for t in STATIC_GRID}
AGENTS = {
    "rlkd": "rlkd",
    "rlkd, no mix-up": "rlkd(explore=0)",
    "shuffled rewards": "rlkd(reward=shuffled)",
    "reward before the action": "rlkd(reward=before-action)",
    "redistribution discarded": "rlkd(calibration=discarded)",
    "wrong density": "rlkd(density=temperature)",
    "second-smallest probability": "rlkd(uncertainty=second-smallest)",
    "mixtures with one label": "rlkd(labels=one)",
    "as released": "rlkd-as-released",
    "as released, shuffled rewards": "rlkd-as-released(reward=shuffled)",
}
LOGS = ("means", "spreads")


@dataclass(frozen=True)
class Unit:
    """One arm on some students: a static temperature on all of them side by side, an agent on one."""

    arm: str
    seeds: tuple[int, ...]


@dataclass
class Watch:
    """Mean and deviation over the instances of log2 T, by update."""

    means: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)

    def __call__(self, _: ForwardPass, temperatures: Temperatures) -> None:
        """Take note of one update."""
        logs = temperatures.student.detach().double().log2()
        self.means.append(float(logs.mean()))
        self.spreads.append(float(logs.std(correction=0)))

    def by_epoch(self, epochs: int) -> dict[str, list[float]]:
        """Both, as means over the updates of each epoch."""
        both = zip(LOGS, (self.means, self.spreads), strict=True)
        return {name: np.array(values).reshape(epochs, -1).mean(1).tolist() for name, values in both}


def units(seeds: Sequence[int]) -> list[Unit]:
    """All of the study, the static temperatures first."""
    return [Unit(arm, tuple(seeds)) for arm in STATIC] + [Unit(arm, (seed,)) for seed in seeds for arm in AGENTS]


def measure(unit: Unit, task: Task, recipe: Recipe) -> dict[str, Any]:
    """Scores of the unit's students, each a list, and an agent's temperatures by epoch; or what went wrong."""
    if unit.arm in STATIC:
        policies = [parse_policy(STATIC[unit.arm]).make(seed) for seed in unit.seeds]
        whole = PolicyRun(task, policies, unit.seeds, recipe.policy)
        while not whole.run.finished:
            whole.advance()
        return _scores(whole.run.students, task)
    watch, agent = Watch(), parse_agent(AGENTS[unit.arm])
    online = agent.start(task, unit.seeds, recipe.policy)
    try:
        while not online.run.finished:
            online.advance(watch)
    except DivergenceError as error:
        return {"trouble": str(error)}
    return _scores(online.run.students, task) | watch.by_epoch(task.optimization.epochs)


def _scores(students: Students, task: Task) -> dict[str, Any]:
    test, validation = (score(students, data, task.augmentation) for data in (task.test, task.validation))
    return {
        "accuracy": test.accuracy.tolist(),
        "nll": test.nll.tolist(),
        "validation_accuracy": validation.accuracy.tolist(),
    }


def play(work: Sequence[Unit], task: Task, recipe: Recipe, folder: Path) -> dict[Unit, dict[str, Any]]:
    """Results of all units, those of an earlier run read from the folder."""
    results = {}
    with progress("students", len(work)) as display:
        for unit in work:
            path = _path(folder, unit, recipe)
            if not path.exists():
                atomic_write(path, json.dumps(measure(unit, task, recipe)))
            results[unit] = json.loads(path.read_text(encoding="utf-8"))
            display.advance()
    return results


def collect(results: dict[Unit, dict[str, Any]], seeds: Sequence[int]) -> dict[str, Outcome]:
    """Outcomes by arm, students in the order of `seeds`; NaN for an agent that diverged."""
    outcomes = {}
    for arm in (*STATIC, *AGENTS):
        parts = [result for unit, result in results.items() if unit.arm == arm]
        columns: dict[str, Any] = {
            name: np.concatenate([np.array(part.get(name, [np.nan])) for part in parts])
            for name in ("accuracy", "nll", "validation_accuracy")
        }
        if arm in AGENTS:
            columns |= {name: np.stack([part[name] for part in parts if name in part]) for name in LOGS}
        outcomes[arm] = Outcome(**columns)
        assert len(outcomes[arm].accuracy) == len(seeds)
    return outcomes


def _path(folder: Path, unit: Unit, recipe: Recipe) -> Path:
    asked = STATIC[unit.arm] if unit.arm in STATIC else asdict(parse_agent(AGENTS[unit.arm]).online)
    words = json.dumps([dump_recipe(recipe, agent=False), asked, unit.seeds])
    return folder / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"


def main() -> None:
    """Play what is missing, print, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("recipe", nargs="?", default="arena-digits", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, help="of a student (default: the recipe's)")
    parser.add_argument("--students", type=int, default=8, help="paired students (default: %(default)s)")
    parser.add_argument("--runs", default="runs", help="folder of what is finished (default: %(default)s)")
    parser.add_argument("--page", default="docs/rlkd.md", help="page with the tables (default: %(default)s)")
    parser.add_argument("--toy", action="store_true", help="the agents on an environment with a known optimum")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.students)
    page = Path(options.page)
    if options.toy:
        insert(page, "toy", toy_table(seeds, options.dry_run))
        return
    changes = {} if options.epochs is None else {"optimization.epochs": options.epochs}
    recipe = load_recipe(options.recipe, changes)
    name = f"{Path(options.recipe).stem}-{recipe.optimization.epochs}"
    folder, work = Path(options.runs) / "rlkd" / name, units(seeds)
    if options.dry_run:
        there = sum(_path(folder, unit, recipe).exists() for unit in work)
        print(f"{name}: {len(work)} units, {there} of them finished, in {folder}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    task = build_task(recipe, cache=options.runs)
    outcomes = collect(play(work, task, recipe, folder), seeds)
    caption = (
        f"{options.students} paired students, seeds 0 to {options.students - 1}, of {task.steps} updates; 95 % t "
        f"intervals. {machine()}."
    )
    insert(page, f"{name} students", f"{student_table(outcomes, list(STATIC))}\n\n{caption}")
    insert(page, f"{name} temperatures", temperature_table(outcomes))
    draw(outcomes, page.parent / "figures" / f"rlkd-{name}.svg")


if __name__ == "__main__":
    main()
