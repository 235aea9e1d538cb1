"""A process that dies costs one more try, Ctrl-C ends all at once, and none outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.experiments.engines import Here, Leave, Processes, Team
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.experiments.evaluation.units import Unit, cut
from rltemp.experiments.evaluation.workers import Worker, run_units
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe
from tests.waiting import wait_for

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


prepare: Any = partial({"eval": eval}.get, "eval")
"""Makes a worker that evaluates expressions. Of all callables, these are known to every process."""


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with Processes(1).team(prepare, str(tmp_path), Leave()) as team:
        yield team
    assert not multiprocessing.active_children()


def test_a_process_that_dies_costs_its_unit_one_more_try(team: Team, tmp_path: Path) -> None:
    end = "__import__('os')._exit(1)"
    once = f"__import__('pathlib').Path({str(tmp_path / 'died')!r})"
    units = ["6 * 7", f"{once}.exists() or ({once}.touch(), {end})", end, "'last'"]
    done = dict(team.results(units))
    assert done.pop(end).reason.startswith("two processes each died of it")
    assert done == {units[0]: 42, units[1]: True, "'last'": "last"}


def test_what_a_unit_raises_costs_no_other(team: Team) -> None:
    done = dict(team.results(["1", "1 / 0", "2"]))
    failure = done.pop("1 / 0")
    assert failure.reason == "ZeroDivisionError: division by zero"
    assert "Traceback" in str(failure.error.__cause__)
    assert done == {"1": 1, "2": 2}


def test_a_process_is_kept_for_the_next_units_unless_nobody_waits_for_it(team: Team) -> None:
    pid = "__import__('os').getpid()"
    ((_, first),) = team.results([pid])
    ((_, again),) = team.results([pid])
    assert first == again
    left = team.results(["1", "__import__('time').sleep(600)"])
    assert next(left) == ("1", 1)
    left.close()  # type: ignore[attr-defined]
    assert dict(team.results(["2"])) == {"2": 2}


def test_units_that_failed_are_named_at_the_end(
    tiny_recipe: Recipe, tiny_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = cut(parse_policies("static(temperature=2),dtkd,normkd"), (5, 6), stacked=True)

    def fail(unit: Unit) -> None:
        if unit is units[0]:
            raise InputError("it must not be")

    monkeypatch.setattr(Worker, "run", lambda self, unit: fail(unit))
    results = run_units(tiny_recipe, tiny_task, units, Here(), "", NoProgress(), Leave())
    assert [next(results)[0], next(results)[0]] == units[1:]
    with pytest.raises(InputError, match=r"1 of .* \(T = 2 \(students from seed 5\): it must not be\); .* is missing"):
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
        started = wait_for(lambda: len(_workers(run.pid)) == 2 and _workers(run.pid))
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
        "import time\nfrom functools import partial\nfrom rltemp.experiments.engines import Leave, Processes\n"
        "if __name__ == '__main__':\n"
        "    with Processes(1).team(partial({0: time.sleep}.get, 0), '.', Leave()) as team:\n"
        "        list(team.results([600]))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as run:
        (child,) = wait_for(lambda: _workers(run.pid))
        run.kill()
    wait_for(lambda: not _runs(child))
