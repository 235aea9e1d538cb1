"""`rltemp train --seeds`: several trainings that differ in the agent's seed alone, each a run of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rltemp.agents.train import load_start
from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.experiments.commands.train_command import train, updates
from rltemp.experiments.engines import Engine, Failure, Workplace, refuse
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.run_folder import RunFolder
from rltemp.experiments.training_cost import check_memory
from rltemp.progress import NoProgress, Progress
from rltemp.recipes import change_recipe, vary

__all__ = ["parse_seeds", "train_seeds"]


@dataclasses.dataclass(frozen=True)
class _Training:
    name: str
    seed: int


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds of "0-4" or "0,3,7", in this order.

    Raises:
        InputError: for another form, a number below 0, or one that comes twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise InputError(f"--seeds must read 0-4 or 0,3,7, got {text!r}")
        seeds += range(int(first), int(last if dash else first) + 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds must name each seed once, got {text!r}")
    return tuple(seeds)


def train_seeds(setting: NamedRecipe, seeds: Sequence[int], root: str, name: str, engine: Engine) -> list[Path]:
    """Train a policy for each seed in `<root>/<recipe>/<name>-seed<N>/`, or go on where that was interrupted.

    Args:
        setting: the recipe, whose agent's seed is replaced.
        seeds: of the agents.
        root: folder of all runs.
        name: of these runs.
        engine: does the work, with the same results whichever it is.

    Returns:
        The policies' folders.

    Raises:
        InputError: if all have finished already, or, when the others have, for trainings that failed.
    """
    load_start(setting.recipe)
    units = [_Training(f"{name}-seed{seed}", seed) for seed in seeds]
    folders = {unit: Path(root, setting.name, unit.name) for unit in units}
    waiting = [unit for unit, path in folders.items() if not (path.exists() and RunFolder(path).finished)]
    if not waiting:
        raise InputError(f"name must be new: the runs {name} of all these seeds have finished; choose another name")
    if engine.here:
        check_memory(setting, root)
    tasks = build_all(setting, root)
    steps = updates(setting, tasks)
    failures: dict[str, Failure] = {}
    with progress("trainings", steps * len(waiting)) as display:
        here = partial(_prepare, setting, tasks, display)
        away = partial(_prepare, setting, None, NoProgress())
        with engine.team(here if engine.here else away, root, setting.leave) as team:
            for unit, result in team.results(waiting):
                if isinstance(result, Failure):
                    failures[unit.name] = result
                if not engine.here:
                    display.advance(steps)
    refuse(failures)
    return [path / "policy" for path in folders.values()]


def _prepare(
    setting: NamedRecipe, tasks: Sequence[Task] | None, display: Progress, place: Workplace
) -> Callable[[_Training], None]:
    built = tasks or [place.build(recipe) for recipe in vary(setting.recipe)]

    def work(unit: _Training) -> None:
        seeded = dataclasses.replace(setting, recipe=change_recipe(setting.recipe, {"agent.seed": unit.seed}))
        display.describe(unit.name)
        with place.holding(place.root / setting.name / unit.name) as keep:
            train(seeded, str(place.root), unit.name, built, display=display, callbacks=[lambda _: keep()])

    return work
