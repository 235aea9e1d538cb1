"""What a run leaves on disk: complete after every rollout, and continued, not repeated, by the next start."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from rltemp.agents.checkpoint import load_checkpoint, save_checkpoint
from rltemp.agents.train import run_training
from rltemp.agents.trainer import Trainer
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.recipes.schema import Agent


def make(rollouts: int = 4, **settings: Any) -> Trainer:
    agent = Agent(students=2, hidden=(8,), rollouts=rollouts, n_epochs=2, minibatches=2, **settings)
    return Trainer(ToyVectorEnv(2, batch_size=3, horizon=5), agent)


class Interrupt:
    """Presses Ctrl-C in the middle of a rollout."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt

    def describe(self, text: str) -> None: ...


class Notes:
    def __init__(self) -> None:
        self.steps = 0
        self.texts: list[str] = []

    def advance(self, steps: int = 1) -> None:
        self.steps += steps

    def describe(self, text: str) -> None:
        self.texts.append(text)


def table(folder: Path) -> str:
    return (folder / "metrics.csv").read_text()


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_ctrl_c_leaves_a_run_that_resumes_as_if_it_had_not_been(tmp_path: Path) -> None:
    unbroken, broken, resumed = make(), make(), make()
    folders = tmp_path / "unbroken", tmp_path / "broken"
    run_training(unbroken, run_dir=folders[0])
    with pytest.raises(KeyboardInterrupt):
        run_training(broken, run_dir=folders[1], progress=Interrupt(2 * 5 + 3))
    run_training(resumed, run_dir=folders[1], resume=True)
    assert table(folders[1]) == table(folders[0])
    assert scalars(folders[1], "rollout/ep_rew_mean") == scalars(folders[0], "rollout/ep_rew_mean")
    assert [step for step, _ in scalars(folders[1], "rollout/ep_rew_mean")] == [1, 2, 3, 4]
    for name, value in unbroken.model.policy.state_dict().items():
        assert torch.equal(value, resumed.model.policy.state_dict()[name])


def test_metrics_are_written_as_table_and_as_curves(tmp_path: Path) -> None:
    trainer = make()
    run_training(trainer, run_dir=tmp_path)
    rows = list(csv.DictReader(table(tmp_path).splitlines()))
    assert [row["rollout"] for row in rows] == ["1", "2", "3", "4"]
    tags = {
        "return": "rollout/ep_rew_mean",
        "return_std": "reward/return_std",
        "kl": "train/approx_kl",
        "std": "train/std",
        "policy_loss": "train/policy_gradient_loss",
        "temperature_0_20": "temperature/0_20",
        "temperature_spread": "temperature/spread",
    }
    for name, tag in tags.items():
        assert [float(row[name]) for row in rows] == [metrics[name] for metrics in trainer.history]
        steps, values = zip(*scalars(tmp_path, tag), strict=True)
        assert steps == (1, 2, 3, 4)
        assert values == pytest.approx([metrics[name] for metrics in trainer.history])


def test_progress_counts_every_step_once_over_a_resumed_run(tmp_path: Path) -> None:
    first, second = Notes(), Notes()
    run_training(make(rollouts=1), run_dir=tmp_path, progress=first)
    run_training(make(rollouts=3), run_dir=tmp_path, progress=second, resume=True)
    assert (first.steps, second.steps) == (5, 15)
    assert first.texts == ["rollout 1 of 1"]
    assert [text.split(",")[0] for text in second.texts] == ["rollout 2 of 3", "rollout 3 of 3"]


def test_without_resume_a_run_starts_anew(tmp_path: Path) -> None:
    run_training(make(), run_dir=tmp_path)
    again = make(rollouts=1)
    run_training(again, run_dir=tmp_path)
    assert len(again.history) == 1
    assert len(table(tmp_path).splitlines()) == 2


def test_a_training_that_is_complete_is_not_continued(tmp_path: Path) -> None:
    run_training(make(), run_dir=tmp_path)
    again = make()
    run_training(again, run_dir=tmp_path, resume=True)
    assert len(again.history) == 4


def test_callbacks_see_the_complete_rollout() -> None:
    seen = []
    run_training(
        make(rollouts=2), callbacks=[lambda trainer: seen.append((len(trainer.history), trainer.history[-1]["kl"]))]
    )
    assert [number for number, _ in seen] == [1, 2]


def test_a_checkpoint_restores_everything(tmp_path: Path) -> None:
    for calibration in ("uniform", "influence", "redistribution"):
        trainer, other = make(credit=calibration), make(credit=calibration)
        trainer.rollout()
        trainer.keep_best(0.5)
        save_checkpoint(trainer, tmp_path / "checkpoint.pt")
        load_checkpoint(other, tmp_path / "checkpoint.pt")
        trainer.rollout()
        other.rollout()
        assert other.history == trainer.history
        assert other.best is not None
        assert other.best["score"] == 0.5


def test_files_that_are_no_checkpoint_of_the_run_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(make(), path)
    save_checkpoint(make(), path)
    whole = path.read_bytes()
    for content in (b"", b"not a checkpoint", whole[: len(whole) // 2], whole[:-1000]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="broken or foreign"):
            load_checkpoint(make(), path)
    torch.save({"version": 99, "trainer": {}}, path)
    with pytest.raises(InputError, match="version 1, got 99"):
        load_checkpoint(make(), path)
    torch.save({"version": 1, "trainer": {**make().state_dict(), "policy": {}}}, path)
    with pytest.raises(InputError, match="does not fit"):
        load_checkpoint(make(), path)
    save_checkpoint(make(seed=5), path)
    with pytest.raises(InputError, match=r"agent\.seed"):
        load_checkpoint(make(), path)


class Malicious:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"version": 1, "trainer": Malicious()}, "checkpoint.pt")
    with pytest.raises(InputError, match="broken or foreign"):
        load_checkpoint(make(), "checkpoint.pt")
    assert not Path("executed").exists()
