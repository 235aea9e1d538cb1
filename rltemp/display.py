"""What a person sees while work goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from rltemp.progress import NoProgress, Progress

__all__ = ["progress"]


@contextmanager
def progress(
    text: str,
    total: int,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
    *,
    lines: bool = True,
    shown: bool = True,
) -> Iterator[Progress]:
    """A display of `total` units of work, for the time of the block.

    It goes to standard error, so that results on standard output stay clean: a bar on a terminal; elsewhere a line at
    the start, at every tenth of the work and at the end.

    Args:
        text: what is being done.
        total: units of work, >= 1.
        console: where to show it; standard error by default.
        clock: seconds, for the plain lines.
        lines: whether there are lines where there is no terminal; a library is quiet there.
        shown: whether anything is: of several processes one is enough.
    """
    if not shown:
        yield NoProgress()
        return
    console = Console(stderr=True, highlight=False) if console is None else console
    if console.is_terminal:
        with Bar(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            yield _Bar(bar, text, total)
    elif lines:
        yield _Lines(console, text, total, clock)
    else:
        yield NoProgress()


class _Bar:
    def __init__(self, bar: Bar, text: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(text, total=total)

    def advance(self, steps: int = 1) -> None:
        self._bar.advance(self._task, steps)

    def describe(self, text: str) -> None:
        self._bar.update(self._task, description=text)


class _Lines:
    def __init__(self, console: Console, text: str, total: int, clock: Callable[[], float]) -> None:
        self._console, self._text, self._total, self._clock = console, text, total, clock
        self._done = 0
        self._start = clock()
        self._print()

    def advance(self, steps: int = 1) -> None:
        tenth = 10 * self._done // self._total
        self._done += steps
        if 10 * self._done // self._total > tenth:
            self._print()

    def describe(self, text: str) -> None:
        self._text = text

    def _print(self) -> None:
        seconds = self._clock() - self._start
        line = f"{self._text}: {self._done}/{self._total}, {seconds:.1f} s"
        self._console.print(line, markup=False, soft_wrap=True)
