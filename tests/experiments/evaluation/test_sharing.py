"""A process that dies costs one more try, Ctrl-C ends all at once, and none outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.experiments.evaluation import workers
from rltemp.experiments.evaluation.sharing import share_out
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.experiments.evaluation.units import cut
from rltemp.experiments.evaluation.workers import run_units
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe

on_linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")


def _workers(parent: int) -> list[int]:
    """Processes that multiprocessing began for `parent`."""
    children = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _runs(process: int) -> bool:
    """Whether it is there, and not as a zombie that nobody has asked for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


evaluate: Callable[[int], Callable[[str], Any]] = [eval].__getitem__
"""Prepares process 0 to evaluate expressions. Of all callables this one is known to every process."""


def test_a_process_that_dies_costs_its_item_one_more_try(tmp_path: Path) -> None:
    end = "__import__('os')._exit(1)"
    once = f"__import__('pathlib').Path({str(tmp_path / 'died')!r})"
    items = ["6 * 7", f"{once}.exists() or ({once}.touch(), {end})", end, "'last'"]
    assert dict(share_out(evaluate, items, 1)) == {items[0]: 42, items[1]: True, end: None, "'last'": "last"}
    assert not multiprocessing.active_children()


def test_what_an_item_raises_is_raised_here() -> None:
    items = share_out(evaluate, ["1", "1 / 0"], 1)
    assert next(items) == ("1", 1)
    with pytest.raises(ZeroDivisionError) as caught:
        next(items)
    assert "Traceback" in str(caught.value.__cause__)
    assert not multiprocessing.active_children()


def test_units_that_two_processes_died_of_are_named_at_the_end(
    tiny_recipe: Recipe, tiny_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = cut(parse_policies("static(temperature=2),dtkd,normkd"), (5, 6), stacked=True)
    monkeypatch.setattr(workers, "share_out", lambda *_: ((unit, unit is not units[0] or None) for unit in units))
    results = run_units(tiny_recipe, tiny_task, units, 2, "", NoProgress())
    assert [next(results)[0], next(results)[0]] == units[1:]
    with pytest.raises(InputError, match=r"died of T = 2 \(students from seed 5\), .* tries again what is missing"):
        next(results)


@on_linux
def test_ctrl_c_ends_all_processes_at_once_with_one_line(tmp_path: Path) -> None:
    options = [
        "--students=2",
        "--processes=2",
        "--no-references",
        "--policy=static",
        "--teacher.epochs=1",
        "--teacher.members=1",
    ]
    options += ["--optimization.epochs=9999", "--data.train=64"]
    command = [sys.executable, "-m", "rltemp.experiments", "evaluate", "digits-short", *options]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("policies"):
                break
        started = _wait_for(lambda: len(_workers(run.pid)) == 2 and _workers(run.pid))
        os.killpg(run.pid, signal.SIGINT)
        interrupted = time.monotonic()
        rest = run.stderr.read()  # until the last of them has ended
        assert time.monotonic() - interrupted < 20
    assert rest == "rltemp: interrupted; the same command goes on where it stopped\n"
    assert run.returncode == 130
    assert not any(map(_runs, started))


@on_linux
def test_no_process_outlives_its_parent() -> None:
    """The parent is killed, so that nothing of it can tidy up."""
    code = (
        "import time\nfrom rltemp.experiments.evaluation.sharing import share_out\n"
        "list(share_out([time.sleep].__getitem__, [600], 1))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as run:
        (child,) = _wait_for(lambda: _workers(run.pid))
        run.kill()
    _wait_for(lambda: not _runs(child))
