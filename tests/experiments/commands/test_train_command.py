"""`rltemp train --dry-run`: what it takes, before data and teacher are there, and nothing is left behind."""

import re
from pathlib import Path

import pytest

from rltemp.envs import credit_memory
from rltemp.experiments.cli import main
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.experiments.training_cost import check_memory, estimate_training
from rltemp.recipes import load_recipe

SMALL = [
    "--optimization.batch_size=4",
    "--data.validation=8",
    "--data.image_size=8",
    "--teacher.network={name: cnn, options: {channels: [4]}}",
    "--student={name: cnn, options: {channels: [4]}}",
    "--execution={device: cpu, precision: float32, channels_last: false}",
    "--agent.hidden=[4]",
]


def test_a_published_pair_is_reckoned_without_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "cifar100-resnet56-resnet20", "--dry-run", *SMALL]) == 0
    first, credit, memory, time, missing = capsys.readouterr().out.splitlines()
    assert first == "cifar100-resnet56-resnet20: 12 rollouts of 1 student, 2,940,000 updates each"
    assert credit == "credit: hindsight, 36,750 of the last 367,500 updates, 192 checkpoints"
    assert re.fullmatch(
        r"memory: about [\d.]+ GB of the [\d.]+ GB that this machine has "
        r"\(images [\d.]+ MB, credit [\d.]+ \wB, rollout [\d.]+ GB, agent [\d.]+ MB, all else, measured [\d.]+ \wB\)",
        memory,
    )
    assert re.fullmatch(r"time: about [\d.]+ hours without the teacher's, from a rollout .* \(1 thread\)", time)
    assert missing.startswith("still missing: data.path must be the folder of 'cifar100', got data/cifar100")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "agent", [{"credit": "influence"}, {"credit": "uniform", "learner": "evolution", "students": 2, "keep": "last"}]
)
def test_other_agents_are_reckoned_too(agent: dict[str, object]) -> None:
    changes = {"teacher.epochs": 1, "agent": {"hidden": [4], "rollouts": 3, **agent}}
    cost = estimate_training(NamedRecipe("digits-short", load_recipe("digits-short", changes)))
    assert (cost.updates, cost.plan) == (90, None)
    assert "credit" not in cost.memory
    assert 0.0 < cost.seconds < 3600.0


def test_credit_that_would_not_fit_is_refused_before_the_teacher_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(credit_memory, "free_bytes", lambda device: 100_000)
    monkeypatch.setattr("rltemp.experiments.training_cost.free_bytes", lambda device: 100_000)
    assert main(["train", "digits-short", "--agent.hidden=[4]"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rltemp: error: agent.credit: hindsight keeps about ")
    assert error.count("\n") == 1
    assert "for 90 updates of mlp; this machine has 0.1 MB: what fits is" in error
    assert not list(tmp_path.iterdir())


def test_other_credit_needs_no_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credit_memory, "free_bytes", lambda device: 0)
    check_memory(NamedRecipe("digits-short", load_recipe("digits-short", {"agent.credit": "uniform"})), str(tmp_path))
