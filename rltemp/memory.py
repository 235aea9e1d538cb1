"""How much memory there is left for this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

__all__ = ["free_bytes", "readable_bytes"]

_UNITS = {2: "MB", 3: "GB", 4: "TB"}


def free_bytes(device: torch.device) -> int | None:
    """Bytes that this process may still take on a device; None where the system does not say.

    On the CPU it is the least of what the machine, the container (cgroup) and the process's own limits leave.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min((*_of_machine(), *_of_container(), *_of_process()), default=None)


def readable_bytes(count: float) -> str:
    """Two significant digits in MB, GB or TB of powers of ten: "3.1 GB", "20 GB"."""
    power = 2 + (count >= 999.5e6) + (count >= 999.5e9)
    size = count / 1000.0**power
    return f"{size:.2g} {_UNITS[power]}" if size < 99.5 else f"{size:.0f} {_UNITS[power]}"


def _of_machine() -> Iterator[int]:
    available = _table("/proc/meminfo").get("MemAvailable")
    if available is not None:
        yield available
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_container() -> Iterator[int]:
    """By the two versions of Linux's control groups, as containers and batch systems see their own."""
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        numbers = [_text(f"{folder}/{name}").strip() for name in (limit, used)]
        if all(number.isdigit() for number in numbers):  # "max" is no limit
            yield max(0, int(numbers[0]) - int(numbers[1]))


def _of_process() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows has none
        return
    used = _table("/proc/self/status")
    for limit, taken in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            yield max(0, most - used.get(taken, 0))


def _table(path: str) -> dict[str, int]:
    """Bytes by name, of lines such as "VmSize: 12 kB"."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[-1:] == ["kB"]}


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
