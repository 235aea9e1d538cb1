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
from typing import Any, Generic, TypeVar

__all__ = ["share_out"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def share_out(
    prepare: Callable[[int], Callable[[Item], Result]], items: Sequence[Item], processes: int
) -> Iterator[tuple[Item, Result | None]]:
    """Results of items, in the order in which they are finished.

    An item whose process dies is given to a fresh one, once. No process outlives the iteration, or this process.

    Args:
        prepare: called once in every process, with its number below `processes`; gives what turns an item into its
            result. Like the items it must be fit to be sent to another process.
        items: in this order they are begun; each can be a key.
        processes: how many work side by side.

    Yields:
        An item and its result; None if two processes died of it.

    Raises:
        Exception: what `prepare` or an item raises.
    """
    waiting, died = deque(items), set[Item]()
    team = [_Process(prepare, number) for number in range(min(processes, len(items)))]
    idle = list(team)
    busy: dict[Connection, tuple[_Process[Item, Result], Item]] = {}
    try:
        while waiting or busy:
            while waiting and idle:
                process, item = idle.pop(), waiting.popleft()
                busy[process.begin(item)] = process, item
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                process, item = busy.pop(connection)
                idle.append(process)
                try:
                    result = process.result()
                except (EOFError, ConnectionError):
                    process.stop()
                    if item not in died:
                        died.add(item)
                        waiting.append(item)
                        continue
                    result = None
                yield item, result
    finally:
        for process in team:
            process.stop()


class _Process(Generic[Item, Result]):
    """A process that does one item after another; begun when it is first needed, and anew after `stop`."""

    def __init__(self, prepare: Callable[[int], Callable[[Item], Result]], number: int) -> None:
        self._arguments = (prepare, number)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection

    def begin(self, item: Item) -> Connection:
        """Send an item; the connection is ready when there is an outcome."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(*self._arguments, theirs))
            with _interrupts_left_to_this_process():
                self._process.start()
            theirs.close()
        with suppress(ConnectionError):  # it died while it was idle, which `result` tells
            self._connection.send(item)
        return self._connection

    def result(self) -> Result:
        """What came of the item; an EOFError or ConnectionError says that the process died."""
        result, error, trace = self._connection.recv()
        if error is not None:
            raise error from RuntimeError(trace)
        value: Result = result
        return value

    def stop(self) -> None:
        """End the process, at once."""
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None


def _serve(prepare: Callable[[int], Callable[[Any], Any]], number: int, connection: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the other end is closed
        _work(prepare, number, connection)


def _work(prepare: Callable[[int], Callable[[Any], Any]], number: int, connection: Connection) -> None:
    work: Callable[[Any], Any] | None = None
    while True:
        item = connection.recv()
        outcome: tuple[Any, Exception | None, str]
        try:
            work = work or prepare(number)
            outcome = work(item), None, ""
        except Exception as error:
            outcome = None, error, traceback.format_exc()
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
