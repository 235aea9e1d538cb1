"""A kill before any file operation costs nothing: the same command ends with the same bytes as an unbroken run.

A kill leaves on disk what was there before the operation. So one unbroken run, which sets a copy of its folder aside
before every operation, gives the states that all possible kills leave; the command is run again from each of them.
"""

import contextlib
import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rltemp import files
from rltemp.experiments.cli import main
from rltemp.experiments.commands import evaluate_command

RECIPE = [
    "digits-short",
    "--data.train=16",
    "--data.validation=10",
    "--teacher.network.options={hidden: [4]}",
    "--teacher.members=1",
    "--teacher.epochs=1",
    "--teacher.batch_size=8",
    "--student.options={hidden: [4]}",
    "--optimization.epochs=2",
    "--optimization.batch_size=8",
    "--policy.alignment=none",
    "--agent.students=1",
    "--agent.rollouts=2",
    "--agent.hidden=[4]",
]
COMMANDS = {
    "train": ["train", *RECIPE],
    "evaluate": ["evaluate", *RECIPE, "--students=2", "--no-references", "--policy=static(temperature=2),dtkd"],
    "distill": ["distill", *RECIPE, "--policy=static"],
    "agent": ["distill", *RECIPE, "--agent=rlkd(hidden=(4,))", "--name=agent"],
    "tune": ["tune", *RECIPE, "--trials=2", "--students=1"],
}
RESULTS = {
    "train": ("policy/policy.safetensors", "policy/policy.json", "policy/README.md", "metrics.csv", "finished"),
    "evaluate": ("results.csv", "evaluation.json", "table.md", "report.html"),
    "distill": ("student.safetensors", "scores.json", "metrics.csv", "finished"),
    "agent": ("student.safetensors", "scores.json", "metrics.csv", "policy/policy.safetensors", "finished"),
    "tune": ("digits-short-tuned.yaml", "finished"),
}
FOLDER = {"train": "train", "evaluate": "evaluation", "distill": "distill", "agent": "agent", "tune": "tune"}
OPERATIONS = ("mkdir", "open", "fsync", "rename", "replace", "unlink", "rmdir")


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time, and are no more than another file."""
    monkeypatch.setattr(evaluate_command, "write_report", lambda path, *_: files.atomic_write(path, "a report"))


def run(folder: Path, command: str) -> tuple[int, str]:
    """Exit code and errors of a command, in a folder."""
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(errors):
        patch.chdir(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            code = main(COMMANDS[command])
    return code, errors.getvalue()


@contextlib.contextmanager
def before_every_operation(call: Callable[[str, Any], None]) -> Iterator[None]:
    """Call it before whatever changes files, also amid writes, with the operation and the path that its error names."""

    class Draft(io.FileIO):
        def write(self, content: Any, /) -> int:
            middle = len(content) // 2
            for part in (content[:middle], content[middle:]):
                call("write", None)
                super().write(part)
            return len(content)

    def told(name: str, operation: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if name != "open" or arguments[1] & os.O_CREAT:
                call(name, None if name == "fsync" else arguments[0])
            return operation(*arguments, **options)

        return wrapped

    def open_draft(path: Path, mode: str) -> io.FileIO:
        call("open", path)
        return Draft(path, mode.replace("b", ""))

    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, told(name, getattr(os, name)))
        patch.setattr(files, "open", open_draft, raising=False)
        yield


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def recorded(command: str, folder: Path, dead: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Path]]:
    """An unbroken run, as of a process that is dead when it is over, and the state before each of its operations."""
    whole, states = folder / "whole", folder / "states"
    whole.mkdir(parents=True)
    kept: list[Path] = []
    copying = False

    def keep(operation: str, path: Any) -> None:
        nonlocal copying
        if copying:
            return
        copying = True
        kept.append(states / str(len(kept)))
        shutil.copytree(whole, kept[-1])
        copying = False

    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: dead)
        with before_every_operation(keep):
            code, errors = run(whole, command)
    assert code == 0, errors
    return whole, kept


def content(folder: Path, command: str) -> dict[str, bytes]:
    run_folder = folder / "runs" / "digits-short" / FOLDER[command]
    return {name: (run_folder / name).read_bytes() for name in RESULTS[command]}


def drafts(folder: Path) -> list[Path]:
    return list(folder.rglob(".draft-*"))


def what_can_be_read(state: Path) -> tuple[tuple[str, bytes | None], ...]:
    """The files of a state; of drafts, which nobody reads, only where some lie."""

    def shown(path: Path) -> str:
        parts = path.relative_to(state).parts
        draft = next((index for index, part in enumerate(parts) if part.startswith(".draft-")), None)
        return "/".join(parts if draft is None else (*parts[:draft], "draft"))

    files = {shown(path): path for path in state.rglob("*") if "tensorboard" not in path.parts}
    return tuple(
        (name, path.read_bytes() if path.is_file() and not name.endswith("draft") else None)
        for name, path in sorted(files.items())
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_kill_before_any_file_operation_costs_nothing(
    command: str, dead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, states = recorded(command, tmp_path, dead, monkeypatch)
    expected = content(whole, command)
    assert len(states) > 40
    assert any(drafts(state) for state in states)
    seen = set()
    for state in states:
        if (found := what_can_be_read(state)) in seen:  # the operation before changed nothing
            continue
        seen.add(found)
        code, errors = run(state, command)
        assert code == 0, (state.name, errors)
        assert content(state, command) == expected, state.name
        assert not drafts(state), state.name
        shutil.rmtree(state)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing_half_written(command: str, tmp_path: Path) -> None:
    """At every so many operations the disk is full, and stays so; then there is room again."""
    count = 0

    def operation(name: str, path: Any) -> None:
        nonlocal count
        count += name not in ("unlink", "rmdir")  # which take no room
        if count >= full and name not in ("unlink", "rmdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([] if path is None else [path]))

    for full in (1, 4, 9, 16, 25, 36, 49):
        folder, count = tmp_path / str(full), 0
        folder.mkdir()
        with before_every_operation(operation):
            code, errors = run(folder, command)
        assert code == 2, errors
        assert errors.splitlines()[-1].startswith("rltemp: error: "), errors
        assert "No space left on device" in errors.splitlines()[-1], errors
        assert not drafts(folder)
    assert run(folder, command)[0] == 0
