"""How much memory credit in hindsight takes, by the number of updates, with and without checkpoints.

    uv run python -m rltemp.experiments.studies.credit_memory [--updates 200,800,3200] [--batch N] [--keep FILE]

A student resnet20 is distilled on images of noise of 16 x 16 px in 100 classes, and every update is credited at two
temperatures, as a rollout of PPO asks for. Each setting runs in a process of its own; its peak of resident memory is
printed without that of a run of 4 updates, which holds all that does not grow, beside what is counted beforehand. What
is measured is kept in FILE, and the command goes on where it stopped. Runs without checkpoints are left out beyond 800
updates: they grow in proportion.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from rltemp.envs.credit_memory import CreditMemory
from rltemp.envs.credit_plan import CreditPlan
from rltemp.envs.episode import Episode
from rltemp.experiments.bench.memory import peak_resident
from rltemp.files import atomic_write
from rltemp.reading import read_text
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks.rehearsal import BATCHES, rehearse_task

_SHORTEST, _LONGEST_WHOLE = BATCHES, 800


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--updates", default="200,800,3200", help="lengths of runs (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="instances per update (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("runs/credit-memory.json"), help="default: %(default)s")
    parser.add_argument("--one", nargs=2, metavar=("CHECKPOINTS", "UPDATES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(play(options.one[0], int(options.one[1]), options.batch)))
        return
    lengths = [int(text) for text in options.updates.split(",")]
    print(
        "| checkpoints | updates | peak, MB | times the one before | counted, MB | minutes |\n|---|--:|--:|--:|--:|--:|"
    )
    for checkpoints in ("auto", "none"):
        least, before = measured(checkpoints, _SHORTEST, options.batch, options.keep), 0.0
        for updates in lengths if checkpoints == "auto" else [n for n in lengths if n <= _LONGEST_WHOLE]:
            found = measured(checkpoints, updates, options.batch, options.keep)
            peak = (found["peak"] - least["peak"]) / 1e6
            known = counted(checkpoints, updates, options.batch) - counted(checkpoints, _SHORTEST, options.batch)
            growth = f"{peak / before:.2f}" if before else ""
            cells = (checkpoints, updates, f"{peak:.0f}", growth, f"{known / 1e6:.0f}", f"{found['seconds'] / 60:.1f}")
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            before = peak


def measured(checkpoints: str, updates: int, batch: int, keep: Path) -> dict[str, float]:
    """What `play` measures in a process of its own, or measured before."""
    kept: dict[str, dict[str, float]] = json.loads(read_text(keep)) if keep.exists() else {}
    name = f"{checkpoints} {updates} x {batch}"
    if name not in kept:
        kept[name] = _in_a_process(checkpoints, updates, batch)
        keep.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(keep, json.dumps(kept, indent=1))
    return kept[name]


def setting(checkpoints: str, updates: int, batch: int) -> Recipe:
    """A run of so many updates, rounded up to whole epochs of the rehearsal."""
    changes = {
        **{"data.image_size": 16, "data.validation": batch, "data.shift": 2},
        **{"teacher.network": {"name": "cnn", "options": {"channels": [8, 8]}}, "policy.alignment": "none"},
        **{"optimization.batch_size": batch, "optimization.epochs": math.ceil(updates / BATCHES)},
        **{"execution.device": "cpu", "execution.precision": "float32", "execution.channels_last": False},
        **{"agent.credit": "hindsight", "agent.checkpoints": checkpoints, "agent.reward_every": updates},
        **{"agent.window": 1.0, "agent.credit_every": 1},
    }
    return load_recipe("cifar100-resnet56-resnet20", changes)


def counted(checkpoints: str, updates: int, batch: int) -> int:
    """Bytes that are counted beforehand."""
    recipe = setting(checkpoints, updates, batch)
    memory = CreditMemory.of(rehearse_task(recipe), 1, BATCHES * batch)
    return memory.needed(CreditPlan.of(recipe.agent, updates))


def play(checkpoints: str, updates: int, batch: int) -> dict[str, float]:
    """Peak of this process's memory after one credited run, and how long it took."""
    torch.set_num_threads(1)
    recipe = setting(checkpoints, updates, batch)
    began = time.perf_counter()
    episode = Episode(rehearse_task(recipe), recipe, [0])
    alternatives = np.stack([np.full((1, batch), action, np.float32) for action in (0.0, 0.1)])
    while not episode.finished:
        episode.step(alternatives[0])
    effects = episode.effects
    assert effects is not None
    steps = math.ceil(updates / BATCHES) * BATCHES
    first, second = effects.of(np.broadcast_to(alternatives[:, None], (2, steps, 1, batch)))
    assert np.isfinite(first - second).all()
    return {"peak": peak_resident(), "seconds": time.perf_counter() - began}


def _in_a_process(checkpoints: str, updates: int, batch: int) -> dict[str, float]:
    # Blocks are given back to the system as soon as they are free, so that the peak is of what is in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, "-m", __spec__.name, "--batch", str(batch), "--one", checkpoints, str(updates)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    main()
