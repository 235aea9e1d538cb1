"""What a long call spends its time on, seen from outside: the code that is measured holds no clock."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from rltemp.experiments.bench.timing import timer

__all__ = ["OTHER", "PhaseTimer"]

OTHER = "other"
"""The phase of whatever no watched function does."""


class PhaseTimer:
    """Adds up the time inside functions, for as long as its `with` block lasts.

    A moment belongs to the innermost watched function alone, so the phases add up to the time of the block.

    Args:
        clock: seconds since some moment; by default of the processor's time that this process has used.

    Attributes:
        seconds: by phase, complete after the block.
    """

    def __init__(self, clock: Callable[[], float] = timer) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._active = [OTHER]
        self._since = 0.0
        self._patches = ExitStack()

    @property
    def shares(self) -> dict[str, float]:
        """By phase, of all the time; they add up to 1."""
        total = sum(self.seconds.values())
        return {phase: seconds / total for phase, seconds in self.seconds.items()}

    def watch(self, owner: Any, name: str, phase: str) -> None:
        """Count the calls of `owner.name`, a method of a class or of one object, as `phase`; undone after the block."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._inside(phase):
                return function(*args, **kwargs)

        self._patches.enter_context(mock.patch.object(owner, name, timed))

    def __enter__(self) -> PhaseTimer:
        """The timer, running."""
        self._since = self._clock()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop, and leave all functions as they were."""
        self._account()
        self._patches.close()

    @contextmanager
    def _inside(self, phase: str) -> Iterator[None]:
        self._account()
        self._active.append(phase)
        try:
            yield
        finally:
            self._account()
            self._active.pop()

    def _account(self) -> None:
        """Give the time since the last call to the innermost phase."""
        now = self._clock()
        phase = self._active[-1]
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now
