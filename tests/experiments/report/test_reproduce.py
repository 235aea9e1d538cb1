"""The command that a report prints makes the report again."""

import re
import shlex
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from rltemp.experiments.cli import main
from rltemp.experiments.commands import arena_command

TINY = [
    "--data.train=64",
    "--data.validation=50",
    "--data.label_noise=0.25",
    "--teacher.network.options={hidden: [8]}",
    "--teacher.members=1",
    "--teacher.epochs=2",
    "--student.options={hidden: [8]}",
    "--optimization.epochs=1",
    "--policy.probe_size=32",
]


def words(report: str) -> list[str]:
    """The printed command as a shell takes it, without the program's name."""
    (command,) = re.findall(r'<pre class="command">(.*?)</pre>', report, flags=re.DOTALL)
    program, *arguments = shlex.split(unescape(command))
    assert program == "rltemp"
    return arguments


def test_an_evaluation_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    policies = "static(temperature=2,scale=4),dtkd"
    given = [
        "--runs=a",
        "--seed=3",
        "--students=2",
        "--no-references",
        f"--policy={policies}",
        "--policy=rltemp/digits-logits",
        "--student-pages=2",
    ]
    assert main(["evaluate", "digits-short", *given, *TINY]) == 0
    folders = [Path(runs, "digits-short", "evaluation") for runs in ("a", "b")]
    first = (folders[0] / "report.html").read_text(encoding="utf-8")
    assert main([*words(first), "--runs=b"]) == 0
    assert (folders[1] / "report.html").read_text(encoding="utf-8") == first
    # The two first students under the three policies.
    pages, again = ({file.name: file.read_text() for file in (folder / "students").iterdir()} for folder in folders)
    assert pages == again
    assert sorted(re.findall(r'href="students/([^"]+)"', first)) == sorted(pages)
    assert len(pages) == 2 * 3
    assert all("<h2>Mislabelled</h2>" in page for page in pages.values())


def test_pages_of_students_are_of_the_policies_that_were_given_and_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [*TINY, "--references.policies=[static(temperature=2)]", "--students=2", "--student-pages=1"]
    # Nothing is distilled under no-kd, and with such a scale students diverge.
    given = ["--policy=dtkd,no-kd", "--policy=static(temperature=4,scale=1e30)"]
    assert main(["evaluate", "digits-short", *given, *small]) == 0
    folder = Path("runs", "digits-short", "evaluation")
    (file,) = (folder / "students").iterdir()
    assert file.name.startswith("dtkd-")
    file.write_text("kept")
    assert main(["evaluate", "digits-short", *given, *small]) == 0
    assert file.read_text() == "kept"
    assert main(["evaluate", "digits-short", *given, *small[:-1]]) == 0
    assert "Single students" not in (folder / "report.html").read_text(encoding="utf-8")


def test_an_arena_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def arena(*arguments: Any) -> Path:
        asked.append(arguments)
        return tmp_path / "report.html"

    monkeypatch.setattr(arena_command, "arena", arena)
    given = ["--conditions=clean,noise30", "--budgets=1,2", "--students=3", "--trials=4", "--policy=rltemp/digits"]
    assert main(["arena", "digits", "mnist1d", *given, "--allow-code"]) == 0
    assert main(words(f'<pre class="command">{asked[0][3]}</pre>')) == 0
    (first, *_, command, leave), (second, *_, command_again, leave_again) = asked
    # A policy that was loaded twice is no policy equal to itself; its name holds a checksum.
    assert [spec.name for spec in second.trained] == [spec.name for spec in first.trained]
    assert replace(second, trained=first.trained) == first
    assert (command_again, leave_again) == (command, leave)
