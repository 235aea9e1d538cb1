"""Made-up entries to judge, and one real arena in the small that many tests look at."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rltemp.experiments.arena.entries import Entry
from rltemp.experiments.arena.outcome import CellOutcome
from rltemp.experiments.arena.plan import METHODS
from rltemp.experiments.arena.run import run_arena
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.engines import Here, Leave
from rltemp.experiments.evaluation.passes import Passes
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.features import LogitFeatures
from rltemp.policies.artifact import save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe, change_recipe


@pytest.fixture(scope="session")
def save_schedule() -> Callable[..., str]:
    """Saves a policy that looks at the progress alone, of whose training its card says what one likes."""

    def save(folder: Path, trained_on: Mapping[str, Any] | None = None, rollouts: int = 2) -> str:
        card: dict[str, Any] = {"training": {"rollouts": rollouts, "agent.students": 3}}
        if trained_on is not None:
            card["trained_on"] = {"task 0": {"data.train": 100, "data.validation": 50, **trained_on}}
        policy = LearnedPolicy(LogitFeatures(("progress",)), (4,), low=1.0, high=9.0, card=card)
        return str(save_policy(policy, folder))

    return save


@pytest.fixture(scope="session")
def arena_recipe(tiny_recipe: Recipe) -> Recipe:
    return change_recipe(tiny_recipe, {"data.pool": "arena"})


@pytest.fixture(scope="session")
def arena_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the arena of `outcome` ran, whose work is in the folder "work"."""
    return tmp_path_factory.mktemp("arena")


@pytest.fixture(scope="session")
def selection(arena_recipe: Recipe, arena_root: Path, save_schedule: Callable[..., str]) -> Selection:
    """The tiny task, clean, with a policy of each kind: fresh, trained on the task, without a word of it, aligned."""
    paths = [
        save_schedule(arena_root / "fresh", {"data.pool": "agents"}),
        save_schedule(arena_root / "seen", {"data.pool": "all", "data.split_seed": 4}),
        save_schedule(arena_root / "silent"),
        "rltemp/digits",
    ]
    return Selection(
        tasks={"tiny": NamedRecipe("tiny", arena_recipe)},
        conditions=("clean",),
        budgets=(1,),
        methods=METHODS,
        trained=tuple(map(trained_policy, paths)),
        students=32,
        trials=3,
        tuning_students=2,
    )


@pytest.fixture(scope="session")
def outcome(selection: Selection, arena_root: Path) -> list[CellOutcome]:
    """What the arena of `selection` found."""
    return run_arena(selection, str(arena_root), ResultStore(arena_root / "work"), Here(), NoProgress(), Leave())


@pytest.fixture
def make_entry() -> Callable[..., Entry]:
    """Entries of 32 students whose accuracies differ from `mean` by what all entries share, and by `noise`."""

    def make(
        method: str,
        kind: str = "trained",
        mean: float = 0.8,
        *,
        noise: float = 0.0,
        trainings: int = 1,
        students: int = 32,
        validation: float | None = None,
        nll: float = 0.5,
        passes: float = 16.0,
        **changes: Any,
    ) -> Entry:
        luck = np.random.default_rng(0).normal(0, 0.02, students)
        own = np.random.default_rng(list(method.encode()))
        fields: dict[str, Any] = {
            "setting": "",
            "results": tuple(
                _result(
                    method,
                    mean + luck + own.normal(0, noise, students),
                    nll,
                    mean if validation is None else validation,
                )
                for _ in range(trainings)
            ),
            "passes": Passes(passes / 2, passes / 2, 0.0, 0.0, 0.0, 0.0),
            "updates": 90,
            "tuning_runs": {"reference": 100, "control": 100}.get(kind, 0),
        }
        return Entry(method=method, kind=kind, **{**fields, **changes})  # type: ignore[arg-type]

    return make


def _result(method: str, accuracy: Iterable[float], nll: float, validation: float) -> PolicyResult:
    values = np.array(list(accuracy))
    same = np.full(len(values), 0.1)
    return PolicyResult(
        name=method,
        accuracy=values,
        nll=np.full(len(values), nll),
        calibration_error=same,
        validation_accuracy=np.full(len(values), validation),
        validation_nll=same,
        agreement=same,
        divergence=same,
        trace=None,
        label=method,
        family="rule",
    )
