"""An arena, from a selection to what it found: work that is done is never done again, whoever asked for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rltemp.errors import InputError
from rltemp.experiments.arena.cells import judge_cell
from rltemp.experiments.arena.outcome import CellOutcome
from rltemp.experiments.arena.plan import CellPlan, waves
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.work import Learn, Search, Work
from rltemp.experiments.arena.workshop import Workshop, read_recipe
from rltemp.experiments.evaluation.sharing import share_out
from rltemp.experiments.tuning.search import Trial
from rltemp.experiments.tuning.spaces import find_space
from rltemp.progress import Progress

__all__ = ["Leave", "all_work", "do_work", "run_arena", "weight"]

_TEACHER = 20_000
"""Updates of a student that a teacher's training counts as, for the display."""


@dataclasses.dataclass(frozen=True)
class Leave:
    """What recipes may do.

    Attributes:
        allow_download: fetch data and networks.
        allow_code: import the module of a source of data.
    """

    allow_download: bool = False
    allow_code: bool = False


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
    selection: Selection, root: str, store: ResultStore, processes: int, display: Progress, leave: Leave
) -> list[CellOutcome]:
    """Do the work that is not done yet, and judge every cell.

    Args:
        selection: what is compared, and where.
        root: folder of all runs, which also keeps the teachers.
        store: of finished work.
        processes: how many work side by side, with the same results.
        display: advances by the `weight` of all work.
        leave: what recipes may do.

    Raises:
        InputError: at the end of a wave, for work that two processes died of.
    """
    done: dict[Work, dict[str, Any]] = {}
    for wave in waves(selection, done.__getitem__):
        do_work(wave, done, root, store, processes, display, leave)
    plans = [CellPlan(selection, cell, done.__getitem__) for cell in selection.cells]
    return [judge_cell(plan, plans, done.__getitem__) for plan in plans]


def do_work(
    wave: Sequence[Work],
    done: dict[Work, dict[str, Any]],
    root: str,
    store: ResultStore,
    processes: int,
    display: Progress,
    leave: Leave,
) -> None:
    """Add the results of `wave` to `done`: those in the store, then the others, as they are finished."""
    for work in wave:
        if (result := store.find(work.key)) is not None:
            done[work] = result
            display.advance(weight(work))
    # Long ones first, so that no process is left alone with one at the end; a cell's together, which share a task.
    waiting = sorted((work for work in wave if work not in done), key=lambda work: -_length(work))
    lost: list[Work] = []
    for work, result in share_out(partial(_prepare, root, store.folder, leave), waiting, processes):
        display.describe(work.describe())
        display.advance(weight(work))
        if result is None:
            lost.append(work)
        else:
            store.keep(work.key, result)
            done[work] = result
    if lost:
        raise InputError(
            f"two processes each died of {', '.join(work.describe() for work in lost)}, perhaps for want of memory; "
            "the rest is kept, and the same command tries again what is missing"
        )


def _prepare(root: str, folder: Path, leave: Leave, number: int) -> Callable[[Work], dict[str, Any]]:
    workshop = Workshop(root, folder, **dataclasses.asdict(leave))
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
