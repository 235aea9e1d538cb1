"""SIGTERM as gentle as Ctrl-C: what is open is closed, and the run can be resumed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "gentle_termination"]


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Whatever is ready for Ctrl-C is ready for it."""


@contextmanager
def gentle_termination() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the block. Only the main thread can ask for that; others change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
