"""What memory there is, by machine, container and the process's own limit; and how it is written."""

import resource
from pathlib import Path

import pytest
import torch

from rltemp import memory
from rltemp.memory import free_bytes, readable_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (5_000, "0.005 MB"),
        (99_600_000, "100 MB"),
        (999_600_000, "1 GB"),
        (3_140_000_000, "3.1 GB"),
        (261e9, "261 GB"),
        (1.2e12, "1.2 TB"),
    ],
)
def test_sizes_have_two_digits_at_least(count: float, text: str) -> None:
    assert readable_bytes(count) == text


def test_the_least_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:    8000 kB\nHugePages_Total: 0\n",
        "/proc/self/status": "Name:\tpython\nVmSize:\t  1000 kB\nVmData:\t   500 kB\n",
        "/sys/fs/cgroup/memory.max": "max\n",
        "/sys/fs/cgroup/memory.current": "7\n",
    }
    monkeypatch.setattr(memory, "_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert free_bytes(CPU) == 8000 * 1024
    files["/sys/fs/cgroup/memory.max"] = "5000000\n"
    assert free_bytes(CPU) == 5_000_000 - 7
    limits = {resource.RLIMIT_AS: 3_000_000, resource.RLIMIT_DATA: 2_000_000}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], limits[kind]))
    assert free_bytes(CPU) == 2_000_000 - 500 * 1024
    limits[resource.RLIMIT_DATA] = 1
    assert free_bytes(CPU) == 0


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_this_machine_has_some() -> None:
    free = free_bytes(CPU)
    assert free is not None
    assert free > 1_000_000
