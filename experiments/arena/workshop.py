"""What a process needs to do the arena's work: tasks that are built once, leave to download, a place for journals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltemp.distillation import Task, score_logits
from rltemp.experiments.engines import Workplace
from rltemp.experiments.evaluation.contenders import parse_contender
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.experiments.tuning.validate import Validation, validate
from rltemp.recipes import Recipe
from rltemp.recipes.plain_yaml import load_plain
from rltemp.recipes.typed import typed

if TYPE_CHECKING:
    from rltemp.experiments.evaluation.agent_specs import AgentSpec

__all__ = ["Workshop", "read_recipe"]


@lru_cache(maxsize=256)
def read_recipe(text: str) -> Recipe:
    """The recipe that `dump_recipe` wrote."""
    return typed(Recipe, load_plain(text, "recipe"), "")


class Workshop:
    """Does what pieces of work ask for, at one worker's place.

    Args:
        place: where it works.
        folder: of the journals of searches, below the place's `root`.
        trained: policies that are at hand already, by what `--policy` calls them.
    """

    def __init__(self, place: Workplace, folder: Path, trained: Mapping[str, PolicySpec] | None = None) -> None:
        self._place, self._folder, self._trained = place, folder, trained or {}
        self.tasks = TaskCache(place.build)

    @contextmanager
    def journal(self, key: str) -> Iterator[tuple[Path, Callable[[], None]]]:
        """Where a search is kept trial by trial, and what is to be called after each."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{key}.journal"
        with self._place.holding(path) as keep:
            yield path, keep

    def contender(self, text: str) -> PolicySpec | AgentSpec:
        """The policy, or the agent that learns in the run, that is called so."""
        return self._trained.get(text) or parse_contender(text)

    def validate(self, recipe: Recipe, policy: str, seeds: Sequence[int]) -> Validation:
        """Students under a policy, scored on validation data."""
        return validate(self.tasks, recipe, self.contender(policy), seeds)

    def describe_task(self, recipe: Recipe) -> dict[str, Any]:
        """How good the teacher is on test images, the spread of its logits, and how many images the source has."""
        task = self.tasks.task(recipe)
        source = self._place.source(recipe.data)
        return {"images": len(source.images), "own_test": source.test is not None, **_describe_teacher(task)}


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
