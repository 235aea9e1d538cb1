"""What the arena's work is cut into: each piece is done by one process, kept, and never done again.

A piece is a value that holds all that its result depends on; its key is a digest of that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from rltemp.experiments.arena.placebo import reads_held_out_labels
from rltemp.experiments.arena.workshop import Workshop, read_recipe
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.measure import measure_of
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.results_files import describe_result
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.evaluation.units import merge, side_by_side
from rltemp.experiments.tuning.search import Setting, search
from rltemp.experiments.tuning.spaces import find_space
from rltemp.experiments.tuning.validate import Validation
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe, change_recipe
from rltemp.recipes.loading import count_updates

__all__ = ["FIRST_MEASURED", "Learn", "Measure", "Search", "Work"]

_VERSION = 2
"""Increases whenever the same piece of work gives another result."""

FIRST_MEASURED = 1 << 20
"""Seed of the first student that is measured, beyond those of searches and agents."""
_SEARCH_SEED = 0


@dataclasses.dataclass(frozen=True)
class Work(ABC):
    """One piece of work.

    Attributes:
        recipe: as YAML.
    """

    recipe: str

    @property
    def key(self) -> str:
        """Digest of the piece, the same on every machine."""
        words = json.dumps([_VERSION, type(self).__name__, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()[:24]

    @property
    @abstractmethod
    def runs(self) -> int:
        """Student runs that it takes."""

    @property
    def updates(self) -> int:
        """Updates of all its students."""
        return self.runs * count_updates(read_recipe(self.recipe))

    @abstractmethod
    def describe(self) -> str:
        """What it is, in a few words."""

    @abstractmethod
    def do(self, workshop: Workshop) -> dict[str, Any]:
        """The result, as plain values."""


@dataclasses.dataclass(frozen=True)
class Learn(Work):
    """Train the teacher, and look at it and at the data."""

    @property
    def runs(self) -> int:
        """None."""
        return 0

    def describe(self) -> str:
        """The data."""
        return f"{_data(self)}: teacher"

    def do(self, workshop: Workshop) -> dict[str, Any]:
        """The teacher's scores, and how many images the source has."""
        return workshop.describe_task(read_recipe(self.recipe))


@dataclasses.dataclass(frozen=True)
class Search(Work):
    """Search one space on validation data.

    Attributes:
        space: its name, as `find_space` takes it.
        trials: settings tried.
        students: side by side in each.
    """

    space: str
    trials: int
    students: int

    @property
    def runs(self) -> int:
        """A run of every student for each trial."""
        return self.trials * self.students

    def describe(self) -> str:
        """The data, and what is searched."""
        return f"{_data(self)}: search of {self.space}"

    def do(self, workshop: Workshop) -> dict[str, Any]:
        """All trials."""
        recipe = read_recipe(self.recipe)
        space = find_space(self.space, recipe)
        with workshop.journal(self.key) as (journal, keep):
            found = search(
                space,
                self.trials,
                _SEARCH_SEED,
                journal,
                partial(self._try_out, workshop, recipe),
                keep,
                measure_of(recipe),
            )
        return {"trials": [dataclasses.asdict(trial) for trial in found.trials]}

    def _try_out(self, workshop: Workshop, recipe: Recipe, settings: Sequence[Setting]) -> Iterator[Validation]:
        for policy, changes in settings:
            yield workshop.validate(change_recipe(recipe, changes), policy, range(self.students))


@dataclasses.dataclass(frozen=True)
class Measure(Work):
    """Measure a policy on test images.

    Attributes:
        policy: as `--policy` takes it, or an agent as `--agent` does.
        name: of the policy, which tells two trainings at one place apart.
        students: measured.
    """

    policy: str
    name: str
    students: int

    @property
    def runs(self) -> int:
        """One of every student."""
        return self.students

    def describe(self) -> str:
        """The data, and the policy."""
        return f"{_data(self)}: {self.policy}"

    def do(self, workshop: Workshop) -> dict[str, Any]:
        """The measured result, and whether the policy read labels that are held out."""
        recipe, spec = read_recipe(self.recipe), workshop.contender(self.policy)
        task = workshop.tasks.task(recipe)
        seeds = range(FIRST_MEASURED, FIRST_MEASURED + self.students)
        parts: list[PolicyResult] = []
        for group in side_by_side(seeds, task.stacked and isinstance(spec, PolicySpec)):
            teacher = workshop.tasks.answers(recipe, task, group)
            parts.append(evaluate_policy(recipe, task, spec, group, teacher, NoProgress()))
        result = dataclasses.replace(merge(parts), trace=None)
        return {**describe_result(result), "reads_held_out_labels": reads_held_out_labels(recipe, task, spec)}


def _data(work: Work) -> str:
    recipe = read_recipe(work.recipe)
    return f"{recipe.data.name}, {recipe.optimization.epochs} epochs"
