"""An arena, from a selection to what it found: work that is done is never done again, whoever asked for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from rltemp.display import progress
from rltemp.experiments.arena.cells import judge_cell
from rltemp.experiments.arena.outcome import CellOutcome
from rltemp.experiments.arena.plan import CellPlan, waves
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.work import Learn, Search, Work
from rltemp.experiments.arena.workshop import Workshop, read_recipe
from rltemp.experiments.engines import Engine, Failure, Leave, Team, Workplace, refuse
from rltemp.experiments.evaluation.specs import PolicySpec, parse_policy
from rltemp.experiments.tuning.search import Trial
from rltemp.experiments.tuning.spaces import find_space
from rltemp.progress import Progress

__all__ = ["all_work", "arena_team", "do_work", "run_alone", "run_arena", "weight"]

_TEACHER = 20_000
"""Updates of a student that a teacher's training counts as, for the display."""


def all_work(selection: Selection, store: ResultStore) -> list[Work]:
    """All work of a selection, as if every search that is not in the store came to its first start.

    What such a search finds changes the counts in one way: settings of two methods that turn out to be the same are
    measured once.
    """

    def result(work: Work) -> dict[str, Any]:
        found = store.find(work.key) if isinstance(work, Search) else None
        return _pretend(work) if found is None else found

    return [work for wave in waves(selection, result) for work in wave]


def weight(work: Work) -> int:
    """What a piece of work counts on the display, about in proportion to its time."""
    return _TEACHER if isinstance(work, Learn) else work.updates


def run_arena(
    selection: Selection, root: str, store: ResultStore, engine: Engine, display: Progress, leave: Leave
) -> list[CellOutcome]:
    """Do the work that is not done yet, and judge every cell.

    Args:
        selection: what is compared, and where.
        root: folder of all runs, which also keeps the teachers.
        store: of finished work, below `root`.
        engine: does the work, with the same results whichever it is.
        display: advances by the `weight` of all work.
        leave: what recipes may do.

    Raises:
        InputError: at the end of a wave, for work that failed.
    """
    done: dict[Work, dict[str, Any]] = {}
    with arena_team(selection, root, store, engine, leave) as team:
        for wave in waves(selection, done.__getitem__):
            do_work(wave, done, store, team, display)
    plans = [CellPlan(selection, cell, done.__getitem__) for cell in selection.cells]
    return [judge_cell(plan, plans, done.__getitem__) for plan in plans]


def run_alone(
    selection: Selection, root: str, store: ResultStore, engine: Engine, leave: Leave, title: str = "arena"
) -> list[CellOutcome]:
    """`run_arena` with a display of its own, called `title`, while no other process adds to `store`."""
    with store.alone(), progress(title, sum(map(weight, all_work(selection, store)))) as display:
        return run_arena(selection, root, store, engine, display, leave)


def arena_team(
    selection: Selection, root: str, store: ResultStore, engine: Engine, leave: Leave
) -> AbstractContextManager[Team]:
    """Workers for `do_work`; arguments are those of `run_arena`."""
    # Their folders may be on this machine alone.
    trained = {path: parse_policy(path) for path in (spec.name.rpartition("@")[0] for spec in selection.trained)}
    return engine.team(partial(_prepare, store.folder.relative_to(root), trained), root, leave)


def do_work(
    wave: Sequence[Work], done: dict[Work, dict[str, Any]], store: ResultStore, team: Team, display: Progress
) -> None:
    """Add the results of `wave` to `done`: those in the store, then the others, as they are finished."""
    for work in wave:
        if (result := store.find(work.key)) is not None:
            done[work] = result
            display.advance(weight(work))
    # Long ones first, so that no worker is left alone with one at the end; a cell's together, which share a task.
    waiting = sorted((work for work in wave if work not in done), key=lambda work: -_length(work))
    failures: dict[str, Failure] = {}
    for work, result in team.results(waiting):
        display.describe(work.describe())
        display.advance(weight(work))
        if isinstance(result, Failure):
            failures[work.describe()] = result
        else:
            store.keep(work.key, result)
            done[work] = result
    refuse(failures)


def _prepare(folder: Path, trained: Mapping[str, PolicySpec], place: Workplace) -> Callable[[Work], dict[str, Any]]:
    workshop = Workshop(place, place.root / folder, trained)
    return lambda work: work.do(workshop)


def _length(work: Work) -> int:
    """Updates of one run, after which work is ordered."""
    return weight(work) if isinstance(work, Learn) else work.updates // work.runs


def _pretend(work: Work) -> dict[str, Any]:
    """A result that leads to as much work as the true one."""
    if not isinstance(work, Search):
        return {}
    space = find_space(work.space, read_recipe(work.recipe))
    trials = [Trial(space.policy(start), space.changes(start), 0.0, 0.0) for start in space.starts]
    return {"trials": [dataclasses.asdict(trial) for trial in trials[: work.trials]]}
