"""The real command line, end to end, on a task so small that it takes seconds."""

import contextlib
import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from rltemp import load_policy
from rltemp.agents.trainer import Trainer
from rltemp.experiments.cli import main
from rltemp.experiments.evaluation.workers import Worker
from rltemp.experiments.named_recipe import read
from rltemp.progress import Progress
from rltemp.recipes import load_recipe

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


class Result(NamedTuple):
    code: int
    out: str
    err: str


def run(folder: Path, *arguments: str) -> Result:
    """The command line in this process, which spares each test the imports of its own."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(folder)
        code = main(list(arguments))
    return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `rltemp train digits-short` ran."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "rltemp.experiments", "train", "digits-short", *TINY]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"policy: {Path('runs/digits-short/train/policy')}\n"
    return folder


def test_train_leaves_a_policy_its_metrics_and_a_mark(trained: Path) -> None:
    folder = trained / "runs" / "digits-short" / "train"
    policy = load_policy(folder / "policy")
    assert "alignment" in policy.needs
    assert policy.card["training"]["rollouts"] == 2
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rollout"] for row in rows] == ["1", "2"]
    assert all(float(row["score"]) < 0 for row in rows)
    assert list((folder / "tensorboard").iterdir())
    assert (folder / "finished").exists()


def test_training_again_gives_the_same_file(trained: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "train", "digits-short", *TINY).code == 0
    first, second = (root / "runs/digits-short/train/policy" for root in (trained, tmp_path))
    for file in ("policy.safetensors", "policy.json", "README.md"):
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_evaluate_compares_and_goes_on_where_it_stopped(trained: Path) -> None:
    arguments = ["evaluate", "digits-short", *TINY, "--students=3", "--policy=runs/digits-short/train/policy"]
    first = run(trained, *arguments, "--no-references", "--policy=static,anneal(start=16,end=1)")
    assert first.code == 0, first.err
    folder = trained / "runs" / "digits-short" / "evaluation"
    assert "<svg" in (folder / "report.html").read_text()
    assert "| T = 4 |" in (folder / "table.md").read_text()
    assert "train (aligned)" in first.out
    assert "best static" in first.out
    before = (folder / "results.csv").read_text()
    again = run(trained, *arguments, "--no-references", "--policy=static,anneal(start=16,end=1)")
    assert again.out == first.out
    more = run(trained, *arguments, "--no-references", "--policy=static,anneal(start=16,end=1),dtkd")
    assert more.code == 0, more.err
    assert (folder / "results.csv").read_text().startswith(before)


def test_policies_stand_each_for_itself_unless_they_are_said_to_be_trainings(trained: Path) -> None:
    for number in (1, 2):
        shutil.copytree(trained / "runs/digits-short/train/policy", trained / f"mine-{number}")
    arguments = [
        "evaluate",
        "digits-short",
        *TINY,
        "--students=2",
        "--no-references",
        "--policy=static(temperature=2)",
        "--name=several",
    ]
    alone = run(trained, *arguments, "--policy=mine-1", "--policy=mine-2")
    assert alone.code == 0, alone.err
    table = (trained / "runs/digits-short/several/table.md").read_text()
    assert table.count("**mine-1 (aligned)**") == table.count("**mine-2 (aligned)**") == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "run", None)  # what was measured is grouped, not run again
        pooled = run(trained, *arguments, "--trainings=mine=mine-*")
    assert pooled.code == 0, pooled.err
    assert "**mine (2 trainings)**" in (trained / "runs/digits-short/several/table.md").read_text()


def test_distill_reuses_the_policy(trained: Path) -> None:
    arguments = ["distill", "digits-short", *TINY, "--policy=runs/digits-short/train/policy", "--data.split_seed=1"]
    result = run(trained, *arguments)
    assert result.code == 0, result.err
    folder = trained / "runs" / "digits-short" / "distill"
    assert 0.0 <= json.loads((folder / "scores.json").read_text())["accuracy"] <= 1.0
    with (folder / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    assert run(trained, *arguments).code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digitz"], "recipe must be one of"),
        (["train", "missing.yaml"], "cannot be read"),
        (["train", "digits", "--optimization.epochz=3"], "epochz"),
        (["train", "digits", "--optimization.epochs=three"], "optimization.epochs"),
        (["train", "digits", "--optimization.epochs"], "needs a value"),
        (["train", "digits", "--optimization.batch_size=1000"], "batch_size must be at most"),
        (["train", "digits", "--optimization.lr=0"], "lr must be > 0"),
        (["train", "digits", "--name=../x"], "name must be"),
        (["train", "digits", "stray"], "unexpected argument"),
        (["evaluate", "digits", "--no-references", "--policy=nothing"], "which does not exist"),
        (["evaluate", "digits", "--policy=nothing"], "which does not exist"),
        (["evaluate", "digits", "--students=1"], "students must be >= 2"),
        (["distill", "digits", "--policy=static,dtkd"], "names"),
        (["train", "cifar100-cpu"], "got data/cifar100, no folder (data.download=true fetches it)"),
        (["train", "cifar100-cpu", "--data.name=folder", "--data.path=nowhere"], "data.path must be the folder of"),
        (["train", "digits", "--data.in_memory=false"], "data.in_memory must be true for 'digits'"),
        (["train", "digits", "--policy.scale=-1"], "policy.scale must be null or lie in"),
        (["policies", "--agent.seed=1"], "takes no values of a recipe"),
        (["train", "digits-shrt"], "did you mean 'digits-short'?"),
        (["train", "digits-short", "--student.name", "nope"], "student.name must be one of mlp, cnn"),
        (["train", "digits-short", "--teacher.network.name=nope"], "teacher.network.name must be one of mlp, cnn"),
        (["train", "digits-short", "--student.options={hidden: abc}"], "student.options: hidden must be"),
        (
            ["train", "digits-short", "--student.name=torchvision:resnet18", "--student.options.weights=DEFAULT"],
            "allow",
        ),
        (["distill", "digits-short", "--policy=static", "--agent.rollouts=0"], "agent.rollouts must be >= 1, got 0"),
        (["train", "digits-short", "--print-config", "--policy.low=-3"], "policy.low must lie in [0.001, 1e+06]"),
        (["train", "digits-short", "--optimization.momentum=0"], "optimization.nesterov must be false"),
        (
            ["train", "digits-short", "--teacher.members=1", "--teacher.checkpoint=no.pth"],
            "got no.pth, which does",
        ),
        (
            ["train", "cifar100-cpu", "--data.download=true"],
            "data.download true would download CIFAR-100: give --allow-download to allow it",
        ),
        (["train", "digits", "--data.name=digit"], "got 'digit'; did you mean 'digits'?"),
        (["train", "digits", "--data.name=os:path"], "data.name 'os:path' would run code: give --allow-code to allow"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("rltemp: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())


def test_print_config_shows_the_recipe_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", "--print-config", "--agent.seed", "7"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["agent"]["seed"] == 7
    assert not list(tmp_path.iterdir())


def test_leave_to_download_is_no_value_of_a_recipe(tmp_path: Path) -> None:
    """Only the command line gives it, and it reaches what builds the task."""
    (tmp_path / "odd.yaml").write_text("extends: cifar100-cpu\ndata: {download: true}\nallow_download: true")
    assert "unknown key 'allow_download'" in run(tmp_path, "train", "odd.yaml").err
    assert "unknown key 'allow_download'" in run(tmp_path, "train", "digits", "--allow_download=true").err
    (tmp_path / "odd.yaml").write_text("extends: cifar100-cpu\ndata: {download: true}")
    allowed = run(tmp_path, "train", "odd.yaml", "--print-config", "--allow-download")
    assert (allowed.code, allowed.err) == (0, "")
    assert "allow" not in allowed.out
    assert read(str(tmp_path / "odd.yaml"), {}, allow_download=True).allow_download


def test_leave_to_run_code_reaches_every_process_and_is_no_value_of_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two_blobs.py").write_text(
        "import torch\n"
        "from rltemp.data import Dataset\n"
        "from rltemp.tasks import Source, SourceLoader\n"
        "class Blobs(SourceLoader):\n"
        "    needs_path = False\n"
        "    def load(self, settings, cache):\n"
        "        return Source(Dataset(torch.arange(300.0).view(300, 1) % 2, torch.arange(300) % 2, 2))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "blobs.yaml").write_text(
        "extends: digits-short\ndata: {name: 'two_blobs:Blobs', shift: 0, train: 64, validation: 50}\n"
        "teacher: {members: 1, epochs: 1}\noptimization: {epochs: 1}\npolicy: {probe_size: 32}\n"
    )
    words = ["evaluate", "blobs.yaml", "--no-references", "--policy=dtkd,lskd", "--students=2", "--processes=2"]
    assert "would run code" in run(tmp_path, *words).err
    assert "unknown key 'allow_code'" in run(tmp_path, *words, "--allow_code=true").err
    allowed = run(tmp_path, *words, "--allow-code")
    assert allowed.code == 0, allowed.err


def test_an_aligned_policy_needs_its_probe(trained: Path) -> None:
    arguments = [*TINY, "--policy=runs/digits-short/train/policy", "--policy.alignment=none", "--name=blind"]
    result = run(trained, "distill", "digits-short", *arguments)
    assert result.code == 2
    assert "policy.alignment must be" in result.err
    assert not (trained / "runs" / "digits-short" / "blind").exists()


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for command, name in (("policies", "ctkd"), ("presets", "dkd"), ("recipes", "digits-short")):
        assert main([command]) == 0
        assert name in capsys.readouterr().out


def test_a_recipe_is_shown_with_and_without_comments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for words in ([], ["--comments"]):
        assert main(["recipes", "show", "digits-short", *words]) == 0
        texts.append(capsys.readouterr().out)
    assert ["#" in text for text in texts] == [False, True]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.yaml").write_text(text)
        assert load_recipe(tmp_path / f"{number}.yaml") == load_recipe("digits-short")
    for words in (["recipes", "show"], ["recipes", "hide"], ["recipes", "show", "nonesuch"]):
        assert main(words) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_reuse_imports_no_reinforcement_learning(trained: Path) -> None:
    """The five lines of the README in a process of their own."""
    code = (
        "import sys, torch, rltemp\n"
        "policy = rltemp.load_policy('runs/digits-short/train/policy')\n"
        "s, t, y = torch.randn(4, 10), torch.randn(4, 10), torch.arange(4)\n"
        "temperatures = policy(s, t, y, 0.5, torch.randn(4, 7))\n"
        "print(rltemp.kd_loss(s, t, temperatures).mean())\n"
        "assert not {'gymnasium', 'stable_baselines3'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=trained, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_interrupted_training_goes_on_and_ends_the_same(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = Trainer.rollout

    def interrupted_in_the_second(self: Trainer, progress: Progress | None = None) -> dict[str, float]:
        if len(self.history) == 1:
            raise KeyboardInterrupt
        return rollout(self, progress)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "rollout", interrupted_in_the_second)
    assert main(["train", "digits-short", *TINY]) == 130
    monkeypatch.setattr(Trainer, "rollout", rollout)
    assert main(["train", "digits-short", *TINY]) == 0
    weights = "runs/digits-short/train/policy/policy.safetensors"
    assert (tmp_path / weights).read_bytes() == (trained / weights).read_bytes()
