"""Work in this process, one unit after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from rltemp.experiments.engines.engine import Engine, Failure, Prepare, Team
from rltemp.experiments.engines.workplace import Leave, Workplace

__all__ = ["Here"]


class Here(Engine):
    """One worker, which is this process."""

    here = True

    @contextmanager
    def team(self, prepare: Prepare[Any, Any], root: str, leave: Leave) -> Iterator[Team]:
        """As in `Engine`."""
        # As in all workers: sums over several threads round otherwise.
        torch.set_num_threads(1)
        yield _Alone(prepare, Workplace(root, leave))


class _Alone:
    def __init__(self, prepare: Prepare[Any, Any], place: Workplace) -> None:
        self._prepare, self._place = prepare, place
        self._work: Callable[[Any], Any] | None = None

    def results(self, units: Sequence[Any], /) -> Iterator[tuple[Any, Any]]:
        """As in `Team`."""
        for unit in units:
            try:
                self._work = self._work or self._prepare(self._place)
                result = self._work(unit)
            except Exception as error:
                result = Failure.of(error)
            yield unit, result
