"""What a result was computed on and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe_machine"]

PACKAGES = ("rltemp", "torch", "stable-baselines3", "gymnasium", "numpy", "scipy")


def describe_machine() -> dict[str, str | int]:
    """Processor, cores this process may use, platform, and the versions of Python and of what computes.

    Nothing that names a person or a place: no host name, no user, no path.
    """
    machine: dict[str, str | int] = {
        "processor": _processor(),
        "cores": _cores(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            machine[package] = "not installed"
    return machine


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine() or "unknown"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
