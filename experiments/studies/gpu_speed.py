"""Images per second of the networks of `gpu`, in every way to run them, beside the usual loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.errors import first_line
from rltemp.experiments.bench.section import Phase
from rltemp.experiments.bench.throughput import step_phases, usual_loop
from rltemp.experiments.bench.timing import device_clock, interleave
from rltemp.policies import make_policy
from rltemp.recipes import Recipe, change_recipe
from rltemp.tasks import build_task

__all__ = ["USUAL", "Speed", "Way", "measure_speed", "ways"]

USUAL = "usual loop"
_VIEWS, _IMAGES = 2, 40 * 64


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to run students.

    Attributes:
        students: how many side by side.
        settings: of the recipe.
    """

    students: int
    settings: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast one way is.

    Attributes:
        images: student images per second, the median; 0 if it does not run.
        phases: what a step is made of.
        trouble: why it does not run; empty if it does.
    """

    images: float
    phases: tuple[Phase, ...] = ()
    trouble: str = ""


def ways(students: int, compiled: bool) -> dict[str, Way]:
    """All ways by name; the study chooses from those that run students side by side.

    Args:
        students: how many.
        compiled: whether compiled networks are among them.
    """
    asked, banked = {"data.views": None}, {"data.views": _VIEWS}
    found = {
        "one student, the teacher asked": Way(1, asked),
        "one student, the teacher's logits banked": Way(1, banked),
    }
    for side_by_side in ("loop", "stacked"):
        for compile_ in (False, True) if compiled else (False,):
            name = f"{students} students, {side_by_side}{', compiled' if compile_ else ''}"
            settings = {"execution.side_by_side": side_by_side, "execution.compile": compile_}
            found[name] = Way(students, {**banked, **settings})
    return found


def measure_speed(
    recipe: Recipe, cache: str, asked: Mapping[str, Way], device: torch.device, seconds: float
) -> dict[str, Speed]:
    """Images per second of the usual loop and of every way, in turns on one device; by name.

    Args:
        recipe: of the study; a few of its images and a teacher that has learned nothing are enough.
        cache: folder of decoded images.
        asked: the ways by name.
        device: where all of them run.
        seconds: about how long the comparison may take.
    """
    untrained = {"teacher.checkpoint": None, "teacher.epochs": 0}
    few = change_recipe(recipe, {**untrained, "data.train": min(_IMAGES, recipe.data.train)})
    found: dict[str, Speed] = {}
    calls: dict[str, Callable[[], object]] = {}
    for name, way in asked.items():
        try:
            task = build_task(change_recipe(few, dict(way.settings)), device=device, cache=cache)
            calls[name] = _advance(task, way.students)
            calls[name]()
        except Exception as error:  # whatever a compiler or a kernel may raise: the others are measured still
            calls.pop(name, None)
            found[name] = Speed(0.0, trouble=f"{type(error).__name__}: {first_line(error)}")
    clock = device_clock(device)
    pair, batch = (recipe.teacher.network.name, recipe.student.name), recipe.optimization.batch_size
    usual = usual_loop(Path(recipe.data.path or ""), str(device), pair, batch)
    times = interleave({USUAL: lambda: next(usual), **calls}, seconds, clock)
    usual.close()
    for name, values in times.items():
        count = 1 if name == USUAL else asked[name].students
        phases = step_phases(calls[name], clock=clock) if name in calls else ()
        found[name] = Speed(count * batch / float(np.median(values)), phases)
    return found


def _advance(task: Task, students: int) -> Callable[[], None]:
    """One update per call, of one run after the other."""

    def updates() -> Iterator[None]:
        while True:
            whole = PolicyRun(task, [make_policy("static")] * students, range(students), Recipe().policy)
            while not whole.run.finished:
                whole.advance()
                yield

    stream = updates()
    return lambda: next(stream)
