"""What a process needs to do the arena's work: tasks that are built once, leave to download, a place for journals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from rltemp.distillation import Task, score_logits
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.experiments.tuning.validate import Validation, validate
from rltemp.recipes import Recipe
from rltemp.recipes.plain_yaml import load_plain
from rltemp.recipes.typed import typed
from rltemp.tasks import build_task
from rltemp.tasks.sources.registry import load_source

__all__ = ["Workshop", "read_recipe"]


@lru_cache(maxsize=256)
def read_recipe(text: str) -> Recipe:
    """The recipe that `dump_recipe` wrote."""
    return typed(Recipe, load_plain(text, "recipe"), "")


class Workshop:
    """Does what pieces of work ask for, in one process with one thread.

    Args:
        cache: folder of teachers and decoded images.
        folder: of the journals of searches.
        allow_download: as for `build_task`.
        allow_code: as for `build_task`.
    """

    def __init__(self, cache: str, folder: Path, *, allow_download: bool = False, allow_code: bool = False) -> None:
        # As in all processes: sums over several threads round otherwise.
        torch.set_num_threads(1)
        self._cache = cache
        self._folder = folder
        self._allow_download = allow_download
        self._allow_code = allow_code
        self.tasks = TaskCache(self._build)

    def journal(self, key: str) -> Path:
        """Where a search is kept trial by trial."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{key}.journal"

    def validate(self, recipe: Recipe, policy: str, seeds: Sequence[int]) -> Validation:
        """Students under a policy, scored on validation data."""
        return validate(self.tasks, recipe, parse_policy(policy), seeds)

    def describe_task(self, recipe: Recipe) -> dict[str, Any]:
        """How good the teacher is on test images, the spread of its logits, and how many images the source has."""
        task = self.tasks.task(recipe)
        source = load_source(recipe.data, Path(self._cache), allow_code=self._allow_code)
        return {"images": len(source.images), "own_test": source.test is not None, **_describe_teacher(task)}

    def _build(self, recipe: Recipe) -> Task:
        return build_task(recipe, cache=self._cache, allow_download=self._allow_download, allow_code=self._allow_code)


def _describe_teacher(task: Task) -> dict[str, Any]:
    logits = task.teacher_test_logits
    scores = score_logits(logits[None], task.test.labels)
    return {
        "accuracy": float(scores.accuracy),
        "nll": float(scores.nll),
        "calibration_error": float(scores.calibration_error),
        "spread": float(logits.std(-1).mean()),
        "stacked": task.stacked,
    }
