"""Times of several calls that take turns, so that whatever disturbs the machine disturbs all of them.

Seconds are of the processor: what other programs take of it does not count. On one thread of an idle machine they are
those of the clock on the wall.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["MINIMUM_ROUNDS", "Floats", "Quartiles", "device_clock", "interleave", "one_thread", "rounds", "timer"]

MINIMUM_ROUNDS = 5
"""However short the time: quartiles of fewer say nothing."""

_SHORTEST_SAMPLE = 5e-3
"""Seconds; faster calls are repeated within a sample, far above the clock's resolution."""

timer = time.process_time

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quartiles:
    """The median of a sample, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Floats) -> Quartiles:
        """Quartiles of a sample of any shape."""
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
        return cls(float(median), float(low), float(high))


def device_clock(device: torch.device) -> Callable[[], float]:
    """The clock for work on `device`: the processor's, or the wall's once an accelerator has done all queued work."""
    if device.type == "cpu":
        return timer

    def clock() -> float:
        torch.accelerator.synchronize(device)
        return time.perf_counter()

    return clock


def interleave(
    calls: Mapping[str, Callable[[], object]], seconds: float, clock: Callable[[], float] = timer
) -> dict[str, Floats]:
    """Time of one call, [rounds] for each of `calls`, which take turns: A B A B ...

    Element i of every array is from round i, so ratios are taken element by element.

    Args:
        calls: what to time; each is called once beforehand.
        seconds: about how long, but for at least `MINIMUM_ROUNDS` rounds.
        clock: seconds; by default those of the processor.
    """
    repeats = {name: _repeats(call, clock) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in rounds(seconds):
        for name, call in calls.items():
            samples[name].append(_time(call, repeats[name], clock))
    return {name: np.array(times) for name, times in samples.items()}


def rounds(seconds: float) -> Iterator[int]:
    """Numbers of rounds, until `seconds` have gone by and `MINIMUM_ROUNDS` rounds with them."""
    end = time.monotonic() + seconds
    for number in itertools.count():
        if number >= MINIMUM_ROUNDS and time.monotonic() >= end:
            return
        yield number


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread inside the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _repeats(call: Callable[[], object], clock: Callable[[], float]) -> int:
    call()
    return max(1, math.ceil(_SHORTEST_SAMPLE / _time(call, 1, clock)))


def _time(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats
