"""The most memory a call takes at once, from the log of the allocator: neither other programs nor caches count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from rltemp.errors import InputError

__all__ = ["peak_bytes", "peak_resident"]


def peak_bytes(call: Callable[[], object]) -> int:
    """Most bytes of CPU tensors that `call` had alive at once, beyond those that were there before.

    Raises:
        InputError: if the profiler of this PyTorch has no log of memory.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    results = None if profiler.profiler is None else profiler.profiler.kineto_results
    if results is None:
        raise InputError("torch must have a profiler that logs memory, got one without")
    log = [event for event in results.events() if event.name() == "[memory]"]
    alive = most = 0
    for event in sorted(log, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most


def peak_resident() -> int:
    """Most bytes of memory that this process has held so far, in RAM.

    Not `resource.getrusage`, whose figure begins with that of the process which started this one.

    Raises:
        InputError: where the system does not say it.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError("peak memory needs /proc/self/status, which Linux has and this system has not") from error
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(kilobytes)
