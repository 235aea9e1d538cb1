"""A distillation problem so small that whole runs of it are tests, processes that are connected, and a browser."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rltemp.distillation import Task
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task

# Tests share the cores, and threads of theirs that wait for each other cost more than they save.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the programs under test
# A shell's background jobs ignore Ctrl-C, and hand that down: the programs under test must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = {
    "data": {"train": 64, "validation": 50},
    "teacher": {"network": {"options": {"hidden": [8]}}, "members": 1, "epochs": 2},
    "student": {"options": {"hidden": [8]}},
    "optimization": {"epochs": 1, "batch_size": 8},
    "policy": {"probe_size": 32},
}


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Teachers of the tests are kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLTEMP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """Digits with 64 training images: one epoch of 8 updates on 8 instances, student 64-8-10."""
    return load_recipe("digits-short", TINY)


@pytest.fixture(scope="session")
def tiny_task(tiny_recipe: Recipe) -> Task:
    """The task of `tiny_recipe`."""
    return build_task(tiny_recipe)


@pytest.fixture(scope="session")
def _ranks() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("ranks.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        yield program
        program.communicate()


@pytest.fixture
def in_two_ranks(_ranks: subprocess.Popen[str], tmp_path: Path) -> Callable[[Callable[[int, Path], Any]], list[Any]]:
    """Calls a function of a test file as rank 0 and rank 1 of two processes that are connected; gives both answers."""

    def call(function: Callable[[int, Path], Any]) -> list[Any]:
        assert _ranks.stdin is not None
        assert _ranks.stdout is not None
        print(function.__code__.co_filename, function.__name__, tmp_path, sep="\t", file=_ranks.stdin, flush=True)
        assert _ranks.stdout.readline() == "0 0\n"
        return [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)]

    return call


@pytest.fixture(scope="session")
def look() -> Callable[..., list[dict[str, Any]]]:
    """What pages, files or addresses, look like in Chromium on a desk and on a phone, in this order for each page.

    Skips where there is no browser.
    """
    if importlib.util.find_spec("PySide6") is None:
        pytest.skip("PySide6, which brings the browser, is not installed")

    def look(*pages: object) -> list[dict[str, Any]]:
        command = [sys.executable, str(Path(__file__).with_name("browse.py")), "1280,390", *map(str, pages)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if "ImportError" in done.stderr:
            pytest.skip(f"the browser lacks a system library: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
        seen: list[dict[str, Any]] = json.loads(done.stdout)
        assert [view["room"] for view in seen] == [1280, 390] * len(pages)
        return seen

    return look
