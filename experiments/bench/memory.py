"""The most memory a call takes at once, from the log of the allocator: neither other programs nor caches count."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from rltemp.errors import InputError

__all__ = ["peak_bytes"]


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
