"""Work shared out among processes, any of which may die: that costs what it was at, not what others did."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from rltemp.experiments.engines.engine import Engine, Failure, Prepare, Team
from rltemp.experiments.engines.workplace import Leave, Workplace

__all__ = ["Processes"]


class Processes(Engine):
    """Several processes of this machine, each with one thread. None outlives its team, or this process.

    A unit whose process dies is given to a fresh one, once.

    Args:
        count: how many work side by side, >= 1.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    @contextmanager
    def team(self, prepare: Prepare[Any, Any], root: str, leave: Leave) -> Iterator[Team]:
        """As in `Engine`."""
        processes = [_Process(prepare, (root, leave, number)) for number in range(self._count)]
        try:
            yield _Pool(processes)
        finally:
            for process in processes:
                process.stop()


class _Pool:
    def __init__(self, processes: Sequence[_Process]) -> None:
        self._processes = processes

    def results(self, units: Sequence[Any], /) -> Iterator[tuple[Any, Any]]:
        """As in `Team`."""
        waiting, died = deque(units), set[Any]()
        idle = list(self._processes)
        busy: dict[Connection, tuple[_Process, Any]] = {}
        try:
            while waiting or busy:
                while waiting and idle:
                    process, unit = idle.pop(), waiting.popleft()
                    busy[process.begin(unit)] = process, unit
                for connection in wait(list(busy)):
                    assert isinstance(connection, Connection)
                    process, unit = busy.pop(connection)
                    idle.append(process)
                    try:
                        result = process.result()
                    except (EOFError, ConnectionError):
                        process.stop()
                        if unit not in died:
                            died.add(unit)
                            waiting.append(unit)
                            continue
                        result = Failure("two processes each died of it, perhaps for want of memory")
                    yield unit, result
        finally:
            for process, _ in busy.values():  # nobody waits for what they are at
                process.stop()


class _Process:
    """A process that does one unit after another; begun when it is first needed, and anew after `stop`."""

    def __init__(self, prepare: Prepare[Any, Any], place: tuple[str, Leave, int]) -> None:
        self._arguments = (prepare, place)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection

    def begin(self, unit: Any) -> Connection:
        """Send a unit; the connection is ready when there is an outcome."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(*self._arguments, theirs))
            with _interrupts_left_to_this_process():
                self._process.start()
            theirs.close()
        with suppress(ConnectionError):  # it died while it was idle, which `result` tells
            self._connection.send(unit)
        return self._connection

    def result(self) -> Any:
        """What came of the unit; an EOFError or ConnectionError says that the process died."""
        result, trace = self._connection.recv()
        if isinstance(result, Exception):
            result.__cause__ = RuntimeError(trace)
            return Failure.of(result)
        return result

    def stop(self) -> None:
        """End the process, at once."""
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None


def _serve(prepare: Prepare[Any, Any], place: tuple[str, Leave, int], connection: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # As in all workers: sums over several threads round otherwise.
    torch.set_num_threads(1)
    with suppress(EOFError, ConnectionError):  # the other end is closed
        _work(prepare, Workplace(*place), connection)


def _work(prepare: Prepare[Any, Any], place: Workplace, connection: Connection) -> None:
    work: Callable[[Any], Any] | None = None
    while True:
        unit = connection.recv()
        outcome: tuple[Any, str]
        try:
            work = work or prepare(place)
            outcome = work(unit), ""
        except Exception as error:
            outcome = error, traceback.format_exc()
        connection.send(outcome)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _interrupts_left_to_this_process() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal: those that are started in the block never see it."""
    if os.name != "posix":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # unblocks SIGINT whenever it has to start its process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
