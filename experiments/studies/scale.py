"""What do two workers do of twice one's work, and what would a thousand? Measured on Ray, beside a model of the costs.

    uv run python -m rltemp.experiments.studies.scale

The same units, a policy on a few students each, are done one at a time and two at a time, in turn, on two CPUs of this
machine that Ray is given. Efficiency is the ratio of the times, halved: 1 where two workers take half the time of one.
It is compared with what the model says,

    wall(N) = join + bytes to a machine / bandwidth + max(units / N * unit, units * passed)

whose terms are measured in the same run: `join`, a worker's start (imports, its task); `unit`, one unit, alone and with
another beside it, which shares a processor's caches and may share its core; `passed`, what the one process that hands
out units and keeps results spends on each.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rltemp.experiments.bench.timing import Quartiles
from rltemp.experiments.engines import Leave, Team, Workplace
from rltemp.experiments.engines.on_ray import OnRay, require_ray
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.evaluation.units import Unit
from rltemp.experiments.evaluation.workers import Worker
from rltemp.experiments.machine import describe_machine
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe, load_recipe

RECIPE, STUDENTS, ROUNDS, UNITS = "digits-short", 8, 7, 6
EMPTY, JOIN = -1, -2
"""Units that do nothing, and that say how long their worker took to be ready."""
REPEATS = 200
MANY = 10_000
BANDWIDTH = 1e9 / 8
"""Bytes per second to one machine, of 1 Gbit/s; a machine fetches an object from any that has it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--units", type=int, default=UNITS, help="in each round")
    options = parser.parse_args()
    ray = require_ray()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as root:
        measure(root, options.rounds, options.units)
    ray.shutdown()


def measure(root: str, rounds: int, units: int) -> None:
    recipe = load_recipe(RECIPE)
    place = Workplace(root, Leave())
    place.build(recipe)  # its teacher
    sent = sum(path.stat().st_size for path in Path(root, "teachers").iterdir())
    source = len(pickle.dumps(place.source(recipe.data)))
    with OnRay().team(partial(prepare, recipe), root, Leave()) as team:
        timed(team, [JOIN, JOIN])  # both begin
        walls: dict[int, list[float]] = {1: [], 2: []}
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for number in range(rounds):
            own = range(number * units, (number + 1) * units)
            for workers, batches in ((1, [[unit] for unit in own]), (2, [list(own)])):
                parts = [timed(team, batch) for batch in batches]
                walls[workers].append(sum(wall for wall, _ in parts))
                seconds[workers] += [spent for _, results in parts for spent, _ in results]
                size = len(pickle.dumps(parts[0][1][0]))
        passed = min(timed(team, [EMPTY] * REPEATS)[0] for _ in range(3)) / REPEATS
        (join,) = timed(team, [JOIN])[1]
    unit, beside = (float(np.median(seconds[workers])) for workers in (1, 2))
    efficiency = Quartiles.of(np.array(walls[1]) / np.array(walls[2]) / 2)
    model = partial(wall, join=join, sent=sent + source, passed=passed)
    expected = (model(units, unit, 1) - model(0, unit, 1)) / (model(units, beside, 2) - model(0, beside, 2)) / 2
    machine = describe_machine()
    print(
        f"{machine['processor']}, {machine['cores']} cores; {RECIPE}, {STUDENTS} students a unit, {units} units a round"
    )
    print(
        f"efficiency of 2 workers: {efficiency.median:.2f} [{efficiency.low:.2f}, {efficiency.high:.2f}] "
        f"(quartiles of {rounds} rounds), the model says {expected:.2f}"
    )
    print(f"unit {unit:.2f} s alone, {beside:.2f} s beside another; passed {1e3 * passed:.1f} ms, join {join:.1f} s")
    print(f"bytes: data {source}, teacher {sent} to each machine once; result {size} of each unit")
    print(f"\nefficiency by the model, of {MANY} units\n")
    print("| workers | units of this size | of a minute | of an hour |\n|---|---|---|---|")
    for workers in (1, 2, 10, 100, 1000):
        cells = [f"{MANY * each / workers / model(MANY, each, workers):.2f}" for each in (unit, 60.0, 3600.0)]
        print(f"| {workers} | {' | '.join(cells)} |")
    print(f"\nmost workers kept busy: {unit / passed:.0f} by these units, {60 / passed:.0f} by units of a minute")


def wall(units: int, unit: float, workers: int, *, join: float, sent: int, passed: float) -> float:
    """Seconds from the start to the last result kept."""
    return join + sent / BANDWIDTH + max(-(-units // workers) * unit, units * passed)


def timed(team: Team, units: Sequence[int]) -> tuple[float, list[Any]]:
    start = time.perf_counter()
    results = [result for _, result in team.results(units)]
    return time.perf_counter() - start, results


def prepare(recipe: Recipe, place: Workplace) -> Callable[[int], Any]:
    """A worker of units that are `EMPTY`, `JOIN`, or the number of a group of students."""
    start = time.perf_counter()
    task = place.build(recipe)
    join = time.perf_counter() - start + imports()
    worker = Worker(recipe, task, NoProgress())

    def work(unit: int) -> Any:
        if unit < 0:
            return join if unit == JOIN else None
        start = time.perf_counter()
        result = worker.run(Unit(parse_policy("static"), tuple(range(unit * STUDENTS, (unit + 1) * STUDENTS))))
        return time.perf_counter() - start, result

    return work


def imports() -> float:
    """Seconds that a fresh process takes to import what a worker needs."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import rltemp.experiments.evaluation.workers"], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
