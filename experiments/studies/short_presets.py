"""Why do whole methods of papers collapse in short runs? Their published settings, a lower rate, a longer warm-up.

    uv run python -m rltemp.experiments.studies.short_presets

First how curved a method's loss is at a fresh student's logits, in units of plain distillation's: the mean over
instances of the largest eigenvalue, with the method's full weight. Then test accuracy, in percent, of students on
digits after runs of several lengths: under the method as published, with a quarter of the recipe's learning rate, and
with a distillation term that fades in over the whole run, as in presets up to 20 epochs. The student is the recipe's
perceptron, and in the shortest run also a small CNN, which has batch normalization.

What was measured stays in `--out`; the same command goes on there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rltemp.distillation import DistillationRun, Task
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.files import atomic_write
from rltemp.policies import make_policy
from rltemp.presets import make_preset
from rltemp.progress import NoProgress
from rltemp.recipes import change_recipe, load_recipe
from rltemp.tasks import build_task

PRESETS = ("kd-cifar", "ctkd", "dkd", "ctkd-dkd", "dtkd", "ttm", "wttm")
RECIPE = "arena-digits"
CNN = {"student.name": "cnn", "student.options.channels": [16, 32]}


def main() -> None:
    """Print a row per preset, with three accuracies for each length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 15, 50], help="lengths (default: %(default)s)")
    parser.add_argument("--students", type=int, default=4, help="per accuracy (default: %(default)s)")
    parser.add_argument("--out", default="runs/short-presets.json", help="what was measured (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    places: list[tuple[str, int, dict[str, Any]]] = [(f"{epochs} epochs", epochs, {}) for epochs in options.epochs]
    places.append((f"{options.epochs[0]} epochs, CNN", options.epochs[0], CNN))
    tasks: dict[str, Task] = {}
    titles = ["curvature", *(name for name, *_ in places)]
    print(f"| | {' | '.join(titles)} |\n| :-- |{' --: |' * len(titles)}")
    for preset in PRESETS:
        cells = []
        for name, epochs, student in places:
            recipe = change_recipe(load_recipe(RECIPE), student)
            kind = recipe.student.name
            if kind not in tasks:
                tasks[kind] = build_task(recipe, cache=Path(options.out).parent)
            task = _of_length(tasks[kind], epochs)
            cells.append(_cell(task, preset, range(options.students), Path(options.out), f"{name}, {options.students}"))
        curvature = _curvature(tasks["mlp"], preset) / _curvature(tasks["mlp"], "kd-cifar")
        print(f"| `{preset}` | {curvature:.1f} | {' | '.join(cells)} |", flush=True)


def _curvature(task: Task, preset: str) -> float:
    """Mean over instances of the largest eigenvalue of the loss's second derivative by a fresh student's logits."""
    observation, method = DistillationRun(task, [0]).observe(), make_preset(preset)
    policy = make_policy(method.policy, **method.options)
    largest = []
    for student, teacher, target in zip(
        observation.student.logits[0].detach(),
        observation.teacher_logits[0],
        observation.minibatch.targets[0],
        strict=True,
    ):

        def loss(logits: Tensor, teacher: Tensor = teacher[None], target: Tensor = target[None]) -> Tensor:
            temperatures = policy(logits[None], teacher, target, 1.0)
            return method.losses(logits[None], teacher, target, temperatures, 1.0).sum()

        largest.append(torch.linalg.eigvalsh(torch.func.hessian(loss)(student)).abs().max())
    return float(torch.stack(largest).mean())


def _of_length(task: Task, epochs: int) -> Task:
    return dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, epochs=epochs))


def _cell(task: Task, preset: str, seeds: range, out: Path, where: str) -> str:
    """Accuracies as published, with a quarter of the learning rate, and with the longest warm-up."""
    slower = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, lr=task.optimization.lr / 4))
    share = make_preset(preset).warmup
    variants = {
        "published": (task, f"preset({preset}, warmup={share})"),
        "slower": (slower, f"preset({preset}, warmup={share})"),
        "longer": (task, f"preset({preset}, warmup=1)"),
    }
    known: Mapping[str, float] = json.loads(out.read_text()) if out.exists() else {}
    told = []
    for variant, (which, policy) in variants.items():
        key = f"{preset}, {where}, {variant}"
        if key not in known:
            spec = parse_policy(policy)
            result = evaluate_policy(load_recipe(RECIPE), which, spec, seeds, which.teacher, NoProgress())
            known = {**known, key: float(result.accuracy.mean())}
            atomic_write(out, json.dumps(known, indent=1))
        told.append(f"{100 * known[key]:.0f}")
    return ", ".join(told)


if __name__ == "__main__":
    main()
