"""One command for a large GPU: images per second, then CIFAR-100 under published, tuned and trained temperatures.

    uv run python -m rltemp.experiments.studies.gpu [--data PATH] [--teacher FILE] [--length 0.01] [--dry-run]

It measures a plain torchvision loop and every way to run students side by side, takes the fastest, and distills
resnet56 into resnet20 over 240 epochs under every arm: the students of an arm side by side, several arms in processes
of their own on the same GPU. What is finished is kept in --runs, and a run that is cut goes on at its last checkpoint.
At full length the tables go into docs/gpu.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rltemp.display import progress
from rltemp.distillation import Task, score
from rltemp.errors import DivergenceError, InputError
from rltemp.experiments.bench.section import Phase
from rltemp.experiments.engines import Failure, Leave, Processes, Workplace, refuse
from rltemp.experiments.evaluation.contenders import parse_contender
from rltemp.experiments.evaluation.specs import STATIC_GRID
from rltemp.experiments.studies.gpu_page import PUBLISHED, VANILLA, Outcome, accuracy_table, expectation, speed_table
from rltemp.experiments.studies.gpu_speed import Speed, Way, measure_speed, ways
from rltemp.experiments.studies.rlkd_page import insert, machine
from rltemp.files import atomic_write
from rltemp.reading import restore
from rltemp.recipes import Recipe, change_recipe, dump_recipe, load_recipe
from rltemp.tasks.build import check_recipe, settle_precision

__all__ = ["main"]

RECIPE = "cifar100-resnet56-resnet20"
TUNED = "static T, tuned"
AGENT = "RLKD online"
ARMS = {
    VANILLA: "preset(kd-cifar)",
    TUNED: "",  # found on validation images, in runs of a tenth of the length
    "schedule of the arena": "anneal(start=4, end=1, kd_weight=0.9, ce_weight=1.0)",
    "CTKD": "preset(ctkd)",
    "DTKD": "preset(dtkd, pair=R56-R20)",
    "NormKD": "preset(normkd-cifar)",
    "LSKD": "preset(lskd)",
    AGENT: "rlkd",
    "rltemp/general-kd": "rltemp/general-kd",
    "rltemp/cifar100-schedule": "rltemp/cifar100-schedule",
}
_CHECKPOINTS = 20
"""Per run: what a cut costs at most is a twentieth of the runs it hits."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """Students that one process trains side by side.

    Attributes:
        policy: what chooses their temperatures, or "rlkd".
        seeds: one per student.
        epochs: of their runs.
    """

    policy: str
    seeds: tuple[int, ...]
    epochs: int


def play(unit: Unit, recipe: Recipe, task: Task, folder: Path) -> dict[str, Any]:
    """Scores of the unit's students, each a list, the seconds they took and the images they saw; or what went wrong."""
    task = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, epochs=unit.epochs))
    whole = parse_contender(unit.policy).start(task, unit.seeds, recipe.policy)
    checkpoint = _path(folder, unit, recipe).with_suffix(".pt")
    spent = 0.0

    def load(state: dict[str, Any]) -> None:
        nonlocal spent
        spent = state["seconds"]
        whole.load_state_dict(state["run"])

    if checkpoint.exists():
        restore(load, checkpoint)
    updates = task.steps // unit.epochs
    every = updates * max(1, unit.epochs // _CHECKPOINTS)
    start = time.perf_counter() - spent
    try:
        while not whole.run.finished:
            whole.advance()
            if whole.run.step % every == 0:
                state = io.BytesIO()
                torch.save({"seconds": time.perf_counter() - start, "run": whole.state_dict()}, state)
                atomic_write(checkpoint, state.getvalue())
    except DivergenceError as error:
        return {"trouble": str(error)}
    test, validation = (score(whole.run.students, data, task.augmentation) for data in (task.test, task.validation))
    return {
        "accuracy": test.accuracy.tolist(),
        "validation_accuracy": validation.accuracy.tolist(),
        "seconds": time.perf_counter() - start,
        "images": task.steps * task.optimization.batch_size * len(unit.seeds),
    }


def run(units: Sequence[Unit], recipe: Recipe, cache: str, folder: Path, processes: int) -> dict[Unit, dict[str, Any]]:
    """Results of units, those of an earlier run read from the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [unit for unit in units if not _path(folder, unit, recipe).exists()]
    with progress("units", max(1, len(units))) as display:
        display.advance(len(units) - len(missing))
        for unit, result in _shared(missing, recipe, cache, folder, processes):
            if isinstance(result, Failure):
                refuse({unit.policy: result})
            path = _path(folder, unit, recipe)
            atomic_write(path, json.dumps(result))
            path.with_suffix(".pt").unlink(missing_ok=True)
            display.advance()
    return {unit: json.loads(_path(folder, unit, recipe).read_text(encoding="utf-8")) for unit in units}


def _shared(
    units: Sequence[Unit], recipe: Recipe, cache: str, folder: Path, processes: int
) -> Iterator[tuple[Unit, Any]]:
    if not units:
        return
    prepare = partial(_prepare, recipe, folder)
    # In this process: it keeps the teacher's logits, which the others read.
    play_one = prepare(Workplace(cache, Leave()))
    if processes > 1:
        with Processes(processes).team(prepare, cache, Leave()) as team:
            yield from team.results(units)
        return
    for unit in units:
        yield unit, play_one(unit)


def _prepare(recipe: Recipe, folder: Path, place: Workplace) -> Callable[[Unit], dict[str, Any]]:
    torch.set_num_threads(1)  # sums over several threads round otherwise
    task = place.build(recipe)
    return lambda unit: play(unit, recipe, task, folder)


def tuned(units: Sequence[Unit], results: dict[Unit, dict[str, Any]]) -> str:
    """The static temperature of the highest mean validation accuracy."""
    return max(units, key=lambda unit: float(np.mean(results[unit].get("validation_accuracy", [0.0])))).policy


def collect(arms: dict[str, list[Unit]], results: dict[Unit, dict[str, Any]]) -> dict[str, Outcome]:
    """Outcomes by arm, students in the order of their seeds."""
    outcomes = {}
    for arm, units in arms.items():
        parts = [(unit, results[unit]) for unit in units]
        accuracy = [part.get("accuracy", [np.nan] * len(unit.seeds)) for unit, part in parts]
        spent = sum(part.get("seconds", 0.0) for _, part in parts)
        images = sum(part.get("images", 0) for _, part in parts)
        outcomes[arm] = Outcome(np.concatenate(accuracy), spent, images)
    return outcomes


def _path(folder: Path, unit: Unit, recipe: Recipe) -> Path:
    words = json.dumps([dump_recipe(recipe, agent=False), dataclasses.asdict(unit)])
    return folder / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"


def _speeds(
    recipe: Recipe, asked: dict[str, Way], device: torch.device, options: argparse.Namespace, folder: Path
) -> dict[str, Speed]:
    """How fast each way is, measured once."""
    path = folder / f"speed-{options.seeds}.json"
    if not path.exists():
        found = measure_speed(recipe, options.runs, asked, device, options.seconds)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps({name: dataclasses.asdict(speed) for name, speed in found.items()}))
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Speed(speed["images"], tuple(Phase(**phase) for phase in speed["phases"]), speed["trouble"])
        for name, speed in kept.items()
    }


def fastest(speeds: dict[str, Speed], asked: dict[str, Way]) -> dict[str, Any]:
    """The recipe's settings of the fastest way to run students side by side."""
    chosen = {name: way for name, way in asked.items() if "execution.side_by_side" in way.settings}
    best = chosen[max(chosen, key=lambda name: speeds[name].images)]
    return {key: value for key, value in best.settings.items() if key.startswith("execution.")}


def _recipe(options: argparse.Namespace) -> Recipe:
    epochs = max(2, round(240 * options.length))
    recipe = load_recipe(options.recipe, {"optimization.epochs": epochs, "data.views": options.views})
    changes: dict[str, Any] = {} if options.teacher is None else {"teacher.checkpoint": options.teacher}
    if options.teacher is None and not Path(recipe.teacher.checkpoint or "").is_file():
        changes = {"teacher.checkpoint": None, "teacher.epochs": epochs}
    if options.data is not None:
        changes["data.path"] = options.data
    if options.images is not None:
        changes |= {"data.train": options.images, "data.validation": min(options.images, recipe.data.validation)}
    recipe = change_recipe(recipe, changes)
    check_recipe(recipe)
    return settle_precision(recipe)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, distill what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default=RECIPE, help="name or file (default: %(default)s)")
    parser.add_argument("--data", help="CIFAR-100, as torchvision keeps it or as a tree (default: the recipe's)")
    parser.add_argument("--teacher", help="its weights (default: the recipe's, or trained where there are none)")
    parser.add_argument("--length", type=float, default=1.0, help="share of the 240 epochs (default: %(default)s)")
    parser.add_argument("--images", type=int, help="training images (default: all but those held out)")
    parser.add_argument("--views", type=int, default=64, help="views of an image (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="students per arm (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring speed (default: %(default)s)")
    parser.add_argument("--arms", help="comma-separated, of " + ", ".join(ARMS) + " (default: all)")
    parser.add_argument("--processes", type=int, help="arms at a time (default: one per core on a GPU, else 1)")
    parser.add_argument("--runs", default="runs", help="folder of what is finished (default: %(default)s)")
    parser.add_argument("--page", help="page with the tables (default: docs/gpu.md at full length, else none)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    options = parser.parse_args(arguments)
    recipe, seeds, epochs = _recipe(options), tuple(range(options.seeds)), max(2, round(240 * options.length))
    names = list(ARMS) if options.arms is None else [VANILLA, *options.arms.split(",")]
    if unknown := [name for name in names if name not in ARMS]:
        raise InputError(f"--arms must be of {', '.join(ARMS)}, got {unknown[0]!r}")
    grid = [Unit(f"static(temperature={t:g})", seeds, max(2, epochs // 10)) for t in STATIC_GRID if TUNED in names]
    on_gpu = torch.cuda.is_available() and recipe.execution.device != "cpu"
    device = torch.device("cuda" if on_gpu else "cpu")
    processes = options.processes or (min(os.cpu_count() or 1, 12) if on_gpu else 1)
    folder = Path(options.runs) / "gpu" / f"{Path(options.recipe).stem}-{epochs}-{recipe.data.train}-{device.type}"
    if options.dry_run:
        print(f"{len(names)} arms of {options.seeds} students, {epochs} epochs, {processes} at a time, in {folder}")
        return
    asked = ways(options.seeds, compiled=on_gpu)
    speeds = _speeds(recipe, asked, device, options, folder)
    recipe = change_recipe(recipe, fastest(speeds, asked))
    page = Path(options.page or ("docs/gpu.md" if options.length == 1.0 and on_gpu else os.devnull))
    insert(page, "speed", f"{speed_table(speeds)}\n\n{_caption(recipe)}")
    found = run(grid, recipe, options.runs, folder, processes)
    policies = {**ARMS, TUNED: tuned(grid, found) if grid else ""}
    arms = {name: _units(policies[name], seeds, epochs) for name in dict.fromkeys(names)}
    results = run([unit for units in arms.values() for unit in units], recipe, options.runs, folder, processes)
    caption = f"{options.seeds} paired students, {epochs} epochs{f'; {TUNED}: {policies[TUNED]}' if grid else ''}."
    outcomes, published = collect(arms, results), PUBLISHED if options.recipe == RECIPE else {}
    told = [accuracy_table(outcomes, published), f"{caption} {_caption(recipe)}", *expectation(outcomes, published)]
    insert(page, "accuracy", "\n\n".join(told))


def _units(policy: str, seeds: Sequence[int], epochs: int) -> list[Unit]:
    """The students of an arm side by side; agents learn in one student's run each."""
    groups = [(seed,) for seed in seeds] if policy == ARMS[AGENT] else [tuple(seeds)]
    return [Unit(policy, group, epochs) for group in groups]


def _caption(recipe: Recipe) -> str:
    where = machine()
    if torch.cuda.is_available() and recipe.execution.device != "cpu":
        where = f"{torch.cuda.get_device_name()}; {where}"
    how = f"{recipe.execution.precision}, students {recipe.execution.side_by_side}"
    return f"{where}; {how}{', compiled' if recipe.execution.compile else ''}."


if __name__ == "__main__":
    main()
