"""Whatever is typed, a mistake is one line on standard error, exit code 2, and nothing on disk."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rltemp.experiments.cli import main

LONG = "x" * 300
DISTILL = ["distill", "digits-short", "--policy=static"]
TUNE = ["tune", "digits-short"]
EVALUATE = ["evaluate", "digits-short", "--no-references", "--policy=static(temperature=2)", "--students=2"]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("rltemp: error: ")
    assert error.count("\n") == 1
    return error


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.yaml").write_bytes(b"\xff")
    (tmp_path / "folder.yaml").mkdir()


@pytest.mark.parametrize("command", [["train", "digits-short"], EVALUATE, DISTILL, TUNE, ["demo"]])
@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("file", "root must be a folder that can be written to"),
        ("file/runs", "root must be a folder that can be written to"),
        (LONG, "File name too long"),
        ("a\0b", "arguments must be UTF-8 without NUL"),
        ("\udcff", "arguments must be UTF-8 without NUL"),
        ("", "--runs: must name a folder"),
    ],
)
def test_runs_that_cannot_be(
    command: list[str], runs: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert message in refused([*command, f"--runs={runs}"], capsys)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", [["train", "digits-short"], EVALUATE, DISTILL, TUNE, ["demo"]])
def test_a_folder_that_may_only_be_read(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Permissions do not bind every user who runs tests."""

    def read_only(path: Any, *arguments: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(os, "mkdir", read_only)
    assert "Read-only file system" in refused([*command, "--runs=folder"], capsys)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["train"], "required: recipe"),
        (["train", ""], "recipe must be one of"),
        (["train", "bad.yaml"], "cannot be read"),
        (["train", "folder.yaml"], "cannot be read"),
        (["train", LONG + ".yaml"], "cannot be read"),
        (["train", "../digits"], "recipe must be one of"),
        (["train", "digits-short", "--name=../x"], "name must be"),
        (["train", "digits-short", "--name="], "name must be"),
        (["train", "digits-short", "--name=ä"], "name must be"),
        (["train", "digits-short", "--name=" + LONG], "name must be"),
        ([*EVALUATE, "--students=0"], "--students must be >= 2, got 0"),
        ([*EVALUATE, "--students=1000000000000"], "--students must be <= 65536"),
        ([*EVALUATE, "--students=many"], "invalid int value: 'many'"),
        ([*EVALUATE, "--processes=0"], "--processes must be >= 1, got 0"),
        ([*EVALUATE, "--seed=-1"], "--seed must be >= 0, got -1"),
        ([*EVALUATE, "--seed="], "invalid int value"),
        ([*EVALUATE, "--policy="], "policy must name a policy, got nothing"),
        ([*EVALUATE, "--policy=" + LONG], "File name too long"),
        ([*EVALUATE, "--trainings=x"], "--trainings must read NAME=GLOB"),
        ([*EVALUATE, "--trainings=x=nothing*"], "nothing* matches 0"),
        (["evaluate", "digits-short", "--no-references", "--policy=,"], "path must be a policy's folder"),
        (["evaluate", "digits-short", "--no-references", "--policy=random(generator=3)"], "takes no generator"),
        (["evaluate", "digits-short", "--no-references"], "--policy or --trainings must be given"),
        (["evaluate", "digits-short", "--policies=static"], "--policy must be given, with --no-references to"),
        (["evaluate", "digits-short", "--student-pages=1"], "--student-pages must come with --policy or --trainings"),
        ([*EVALUATE, "--student-pages=3"], "--student-pages must be <= 2, got 3"),
        ([*EVALUATE, "--student-pages=-1"], "--student-pages must be >= 0, got -1"),
        (["arena", "--policy=static(temperature=4)"], "--policy must be a trained policy, got the rule 'static(temp"),
        (["arena", "--policy=dtkd"], "--policy must be a trained policy, got the rule 'dtkd', which is for --methods"),
        ([*DISTILL, "--seed=-1"], "--seed must be >= 0, got -1"),
        (["distill", "digits-short"], "one of the arguments --policy --agent is required"),
        ([*DISTILL, "--agent=rlkd"], "--agent: not allowed with argument --policy"),
        (["distill", "digits-short", "--agent=sac"], "agent must be one of rlkd, rlkd-as-released, got 'sac'"),
        (["distill", "digits-short", "--agent=rlkd(every=20)"], "every must lie in [0, 1], got 20"),
        (
            ["distill", "digits-short", "--agent=rlkd", "--optimization.epochs=1"],
            "optimization.epochs must be > 1, the agent's warm-up, got 1",
        ),
        ([*TUNE, "--trials=1"], "--trials must be >= 2, got 1"),
        ([*TUNE, "--students=0"], "--students must be >= 1, got 0"),
        (["tune"], "required: recipe"),
        (["distill", "digits-short", "--policy=file"], "which is a file"),
        (["policy", "show", "nowhere"], "which does not exist"),
        (["policy", "show", ""], "path must be a policy's folder"),
        (["policy", "show", "rltemp/digits", "--out=missing/x.svg"], "must lie in an existing, writable folder"),
        (["policy", "show", "rltemp/digits", "--out=file/x.svg"], "must lie in an existing, writable folder"),
        (["policy", "show", "rltemp/digits", f"--out={LONG}.svg"], "File name too long"),
        (["policy", "show", "rltemp/digits", "--out="], "--out must end in .svg or .png"),
        (["bench", "--only="], "--only must be one of"),
        (["demo", "stray"], "unexpected argument 'stray'"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert message in refused(arguments, capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_policy_in_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rltemp import LearnedPolicy, LogitFeatures, save_policy
    from rltemp.experiments.evaluation.specs import parse_policy

    monkeypatch.chdir(save_policy(LearnedPolicy(LogitFeatures()), tmp_path / "mine" / "policy"))
    assert parse_policy(".").label.endswith("/mine (logits)")
