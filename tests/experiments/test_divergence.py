"""Training that leaves all useful numbers ends in one line that names whose it was; what was good before is kept."""

import contextlib
import csv
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from rltemp.agents.metrics import RolloutRecorder
from rltemp.agents.trainer import Trainer
from rltemp.distillation.optimization import learning_rate
from rltemp.experiments.cli import main
from rltemp.recipes.schema import Optimization

TINY = [
    "--data.train=64",
    "--data.validation=50",
    "--teacher.network.options={hidden: [8]}",
    "--teacher.members=1",
    "--teacher.epochs=2",
    "--student.options={hidden: [8]}",
    "--optimization.epochs=2",
    "--optimization.batch_size=8",
    "--policy.probe_size=32",
    "--agent.students=2",
    "--agent.rollouts=2",
    "--agent.hidden=[8]",
]
COMMANDS = {
    "train": ["train", "digits-short", *TINY],
    "distill": ["distill", "digits-short", *TINY, "--policy=static"],
    "evaluate": [
        "evaluate",
        "digits-short",
        *TINY,
        "--students=3",
        "--no-references",
        "--policy=static(temperature=4),influence,dtkd",
    ],
}
RATES = ["1.0e+4", "1.0e+8", "1.0e+15", "1.0e+30"]


class Result(NamedTuple):
    code: int
    out: str
    errors: list[str]


def _run(command: str, *overrides: str) -> Result:
    """The command line, in the current folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*COMMANDS[command], *overrides])
    # Beside errors there are the plain lines of the display.
    return Result(code, out.getvalue(), [line for line in err.getvalue().splitlines() if line.startswith("rltemp:")])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "digits-short"


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def _refused(result: Result, message: str) -> None:
    assert result.code == 2
    assert len(result.errors) == 1
    assert re.fullmatch(f"rltemp: error: {message}", result.errors[0]), result.errors[0]


STUDENT = r"student \d diverged at update \d+ \(loss [^)]+\): lower optimization.lr, or ce_weight and kd_weight .*"
STUDENTS = r"all students of rollout 1 diverged: lower optimization.lr, or ce_weight and kd_weight .*"
TEACHER = r"the teacher diverged at update \d+ \(loss [^)]+\): lower teacher.lr"
AGENT = r"the agent diverged in rollout \d: lower agent.learning_rate, or agent.log_std_init and agent.reward_scale .*"


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("command", "message"), [("train", STUDENTS), ("distill", STUDENT)])
def test_students_that_diverge_are_named(folder: Path, command: str, message: str, rate: str) -> None:
    _refused(_run(command, f"--optimization.lr={rate}"), message)
    assert not (folder / command).exists()


def test_training_goes_on_where_some_are_left(folder: Path) -> None:
    some = ["--agent.students=6", "--agent.log_std_init=-1", "--policy.scale_range=[1.0, 1.0e+6]"]
    result = _run("train", *some, "--optimization.lr=0.02", "--agent.objective=soft-error")
    assert result.code == 0, result.errors
    lost = [float(row["diverged"]) for row in _rows(folder / "train")]
    assert 0 < sum(lost) < 2 * 6
    assert (folder / "train" / "policy").exists()


@pytest.mark.parametrize("weight", ["ce_weight", "kd_weight"])
def test_so_is_one_whose_loss_weighs_too_much(folder: Path, weight: str) -> None:
    _refused(_run("distill", f"--optimization.{weight}=1.0e+30"), STUDENT)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_teacher_that_diverges_is_named_and_not_kept(folder: Path, command: str, rate: str) -> None:
    _refused(_run(command, f"--teacher.lr={rate}"), TEACHER)
    assert not [path for path in folder.parent.rglob("*") if path.is_file()]


@pytest.mark.parametrize("override", [f"learning_rate={rate}" for rate in RATES])
def test_an_agent_that_diverges_is_named(folder: Path, override: str) -> None:
    _refused(_run("train", f"--agent.{override}"), AGENT)
    assert not (folder / "train").exists()


def test_the_name_of_a_run_that_came_to_nothing_is_free(folder: Path) -> None:
    _refused(_run("distill", "--optimization.lr=1.0e+30"), STUDENT)
    assert _run("distill").code == 0


def test_whole_epochs_before_are_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much_at_last(settings: Optimization, progress: float) -> float:
        # The very last update: nobody looks at a minibatch after it.
        return 1e30 if progress > 0.9 else learning_rate(settings, progress)

    monkeypatch.setattr("rltemp.distillation.run.learning_rate", too_much_at_last)
    _refused(_run("distill"), STUDENT)
    assert [row["epoch"] for row in _rows(folder / "distill")] == ["1.0"]
    state = torch.load(folder / "distill" / "checkpoints" / "run.pt", weights_only=True)["run"]
    assert state["step"] == 8
    assert all(bool(torch.isfinite(value).all()) for value in state["students"].values())
    monkeypatch.setattr("rltemp.distillation.run.learning_rate", learning_rate)
    assert _run("distill").code == 0
    assert _run("distill", "--name=unbroken").code == 0
    resumed, unbroken = (folder / name / "student.safetensors" for name in ("distill", "unbroken"))
    assert resumed.read_bytes() == unbroken.read_bytes()


def test_whole_rollouts_before_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Trainer._learn

    def poisoned_in_the_second(self: Trainer, recorder: RolloutRecorder) -> None:
        if self.history:
            self.model.policy.get_parameter("action_net.weight").data.fill_(torch.nan)
        learn(self, recorder)

    monkeypatch.setattr(Trainer, "_learn", poisoned_in_the_second)
    _refused(_run("train"), AGENT)
    assert len(_rows(folder / "train")) == 1
    assert not (folder / "train" / "policy").exists()
    monkeypatch.setattr(Trainer, "_learn", learn)
    assert _run("train").code == 0
    assert _run("train", "--name=unbroken").code == 0
    resumed, unbroken = (folder / name / "policy" / "policy.safetensors" for name in ("train", "unbroken"))
    assert resumed.read_bytes() == unbroken.read_bytes()


@pytest.mark.parametrize("rate", RATES)
def test_a_comparison_says_who_diverged(folder: Path, rate: str) -> None:
    result = _run("evaluate", f"--optimization.lr={rate}")
    assert result.code == 0, result.errors
    table = (folder / "evaluation" / "table.md").read_text()
    assert re.search(r"\| T = 4 \|.*\| diverged \(3 of 3\) \|", table)
    assert (folder / "evaluation" / "report.html").exists()


def test_one_policy_that_diverges_changes_no_other_row(folder: Path) -> None:
    good = "static(temperature=2),dtkd"
    assert _run("evaluate", "--no-references", f"--policy={good}", "--name=good").code == 0
    assert (
        _run("evaluate", "--no-references", f"--policy={good},static(temperature=4,scale=1.0e+30)", "--name=all").code
        == 0
    )
    rows = [line for line in (folder / "good" / "table.md").read_text().splitlines() if line.startswith("| T = 2")]
    table = (folder / "all" / "table.md").read_text()
    assert rows[0] in table
    assert re.search(r"\| T = 4, scale 1e\+30 \|.*\| diverged \(3 of 3\) \|", table)
    fate = "3 of 3 students came to nothing, and the policy is compared with nothing."
    told = r"A student diverged at update \d \(loss .*\): lower optimization.lr, or "
    assert re.search(rf"^T = 4, scale 1e\+30: {fate} {told}", table, flags=re.MULTILINE)
    assert (folder / "all" / "results.csv").read_text().startswith((folder / "good" / "results.csv").read_text())
    again: Any = _run(
        "evaluate", "--no-references", f"--policy={good},static(temperature=4,scale=1.0e+30)", "--name=all"
    )
    assert again.code == 0
    assert (folder / "all" / "table.md").read_text() == table
