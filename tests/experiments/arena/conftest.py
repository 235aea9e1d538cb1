"""Made-up entries to judge, and one real arena in the small that many tests look at."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from rltemp.experiments.arena import run as run_module
from rltemp.experiments.arena.entries import Entry
from rltemp.experiments.arena.outcome import CellOutcome
from rltemp.experiments.arena.run import Leave, run_arena
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.evaluation.passes import Passes
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.features import LogitFeatures
from rltemp.policies.artifact import save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe, change_recipe

TRAINING = {"rollouts": 2, "agent.students": 3}
"""A training of six student runs."""


class Arena(NamedTuple):
    """A finished arena of one cell."""

    selection: Selection
    root: Path
    store: ResultStore
    outcome: list[CellOutcome]


def in_this_process(prepare: Callable[[int], Any], items: Sequence[Any], processes: int) -> Iterator[tuple[Any, Any]]:
    """What `share_out` does, without the seconds that a process takes to begin."""
    if items:
        work = prepare(0)
        yield from ((item, work(item)) for item in items)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arenas run in this process."""
    monkeypatch.setattr(run_module, "share_out", in_this_process)


def save_schedule(folder: Path, **card: Any) -> str:
    """A policy that looks at the progress alone, which cards say what one likes of."""
    return str(save_policy(LearnedPolicy(LogitFeatures(("progress",)), (4,), low=1.0, high=9.0, card=card), folder))


@pytest.fixture(scope="session")
def arena_recipe(tiny_recipe: Recipe) -> Recipe:
    return change_recipe(tiny_recipe, {"data.pool": "arena"})


@pytest.fixture(scope="session")
def finished(arena_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """The tiny task, clean, with a policy of each kind: fresh, trained on the task, and aligned."""
    root = tmp_path_factory.mktemp("arena")
    fresh = save_schedule(root / "fresh", training=TRAINING, trained_on={"task 0": {"data.pool": "agents"}})
    seen = save_schedule(root / "seen", training=TRAINING, trained_on={"task 0": {"data.pool": "all"}})
    selection = Selection(
        tasks={"tiny": NamedRecipe("tiny", arena_recipe)},
        conditions=("clean",),
        budgets=(1,),
        trained=tuple(trained_policy(path) for path in (fresh, seen, "rltemp/digits")),
        students=32,
        trials=3,
        tuning_students=2,
    )
    store = ResultStore(root / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "share_out", in_this_process)
        outcome = run_arena(selection, str(root), store, 1, NoProgress(), Leave())
    return Arena(selection, root, store, outcome)


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
