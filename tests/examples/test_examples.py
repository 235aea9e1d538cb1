"""Every example, run as it stands, in one process; what single_file.py repeats is checked against the library."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rltemp
from rltemp.features import ALIGNED_FEATURES
from tests.examples.loading import load


@pytest.mark.parametrize("kind", ["schedule", "trained", "aligned"])
def test_plain_pytorch(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    path = None
    if kind != "schedule":
        features = rltemp.LogitFeatures(ALIGNED_FEATURES) if kind == "aligned" else rltemp.LogitFeatures()
        path = str(rltemp.save_policy(rltemp.LearnedPolicy(features), tmp_path / "policy"))
    assert load("plain_pytorch").main(path) > 0.8


def test_huggingface_trainer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    safetensors = pytest.importorskip("safetensors.torch")
    example = load("huggingface_trainer")
    trainer = example.main(str(tmp_path))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.7 * losses[0]
    criterion = trainer.model.criterion
    learned = criterion.policy.logit.item()
    assert learned != 1.0
    saved = safetensors.load_file(tmp_path / "student" / "checkpoint-36" / "model.safetensors")
    assert saved["criterion.policy.logit"].item() == learned
    assert not any("teacher" in name for name in saved)

    trainer.train(resume_from_checkpoint=str(tmp_path / "student" / "checkpoint-24"))
    assert trainer.state.global_step == 36
    assert criterion.policy.logit.item() == pytest.approx(learned, abs=1e-6)


def test_lightning_module(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    trainer = load("lightning_module").main(str(tmp_path))
    assert trainer.callback_metrics["ce"] < 0.1  # of 0.1 log 4 = 0.139 at the start
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert saved["criterion.policy.logit"].item() != 1.0
    assert sorted({name.partition(".")[0] for name in saved}) == ["criterion", "student"]


@pytest.mark.parametrize("preset", ["dtkd", "ctkd-dkd"])
def test_timm_models(preset: str) -> None:
    pytest.importorskip("timm")
    losses = load("timm_models").main(preset)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3]) if preset == "dtkd" else np.isfinite(losses).all()


def test_torchdistill_loss() -> None:
    pytest.importorskip("torchdistill")
    losses = load("torchdistill_loss").main()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("policy", [None, "rltemp/digits-logits"])
def test_detection(policy: str | None) -> None:
    pytest.importorskip("sklearn")
    losses = load("detection").main(policy)
    assert sum(losses[-10:]) < 0.5 * sum(losses[1:11])


def test_causal_lm() -> None:
    pytest.importorskip("transformers")
    losses = load("causal_lm").main()
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_causal_lm_with_the_vocabulary_of_a_large_one() -> None:
    pytest.importorskip("transformers")
    example = load("causal_lm")
    example.VOCABULARY, example.BATCH, example.STEPS = 50_000, 2, 10  # type: ignore[attr-defined]
    torch.manual_seed(0)
    tokens = example.sentences()
    assert (tokens == example.PADDING).any()
    # Few steps: one batch, by heart.
    example.sentences = lambda: tokens  # type: ignore[attr-defined]
    losses = example.main(rltemp.make_policy("static", temperature=1.0))
    assert losses[-1] < 0.9 * losses[0]


def test_trl_gkd(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    example = load("trl_gkd")
    trainer = example.main(str(tmp_path))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])

    batch = trainer.data_collator(list(example.conversations(5)))
    batch = {name: value.to(trainer.args.device) for name, value in batch.items()}
    assert (batch["labels"] == -100).any()
    plain = rltemp.make_policy("static", temperature=1.0)
    trainer.criterion.policy = plain
    for counted in (None, 40):
        theirs = super(type(trainer), trainer).compute_loss(trainer.model, batch, num_items_in_batch=counted)
        ours = trainer.compute_loss(trainer.model, batch, num_items_in_batch=counted)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)

    features = rltemp.LogitFeatures()
    trainer.criterion.policy = rltemp.load_policy(
        rltemp.save_policy(rltemp.LearnedPolicy(features, scale=2.0), tmp_path / "policy")
    )
    trainer.compute_loss(trainer.model, batch).backward()
    assert trainer.model.lm_head.weight.grad.abs().sum() > 0


SPREAD = [("ddp", "rltemp/general-kd"), ("fsdp", "rltemp/general-kd"), ("ddp", "rltemp/digits-logits")]


def spread_over_ranks(rank: int, folder: Path) -> list[list[float]]:
    return [load("several_devices").main(*arguments) for arguments in SPREAD]


def test_several_devices(in_two_ranks: Callable[[Callable[[int, Path], Any]], list[Any]], tmp_path: Path) -> None:
    first, second = in_two_ranks(spread_over_ranks)
    assert first == second
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/alone", rank=0, world_size=1)
    try:
        alone = [load("several_devices").main("ddp", policy) for _, policy in SPREAD]
    finally:
        torch.distributed.destroy_process_group()
    for ours, theirs in zip(first, alone, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
        assert sum(theirs[-3:]) < 0.7 * sum(theirs[:3])


def test_compiled_step() -> None:
    torch.compiler.reset()
    example = load("compiled_step")
    losses = example.main("aot_eager")
    assert losses == pytest.approx(example.main("eager"), rel=1e-4)
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_single_file(capsys: pytest.CaptureFixture[str]) -> None:
    single = load("single_file")
    gains = single.main(single.Args(students=4, rollouts=2, steps=30))
    assert all(gain > 0.2 for gain in gains)
    assert "test accuracy" in capsys.readouterr().out


def logits(*shape: int) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(*shape, generator=generator) for _ in itertools.count())


def test_single_file_has_the_librarys_features_temperatures_and_loss() -> None:
    from rltemp.temperatures import action_to_temperature

    single = load("single_file")
    student, teacher, *_ = itertools.islice(logits(3, 7, 10), 2)
    targets = torch.arange(21).view(3, 7) % 10
    ours = single.logit_features(student, teacher, targets, 0.3)
    library = rltemp.LogitFeatures()(student.flatten(0, 1), teacher.flatten(0, 1), targets.flatten(), 0.3, None)
    torch.testing.assert_close(ours.flatten(0, 1), library)

    actions = torch.linspace(-1.5, 1.5, 21)
    t = action_to_temperature(actions, 0.5, 32.0)
    torch.testing.assert_close(single.action_to_temperature(actions, 0.5, 32.0), t)
    student, teacher, t = student.double(), teacher.double(), t.double()
    expected = rltemp.kd_loss(student.flatten(0, 1), teacher.flatten(0, 1), rltemp.Temperatures.shared(t))
    torch.testing.assert_close(single.kd_loss(student, teacher, t.view(3, 7)), expected.view(3, 7))


def test_single_file_has_the_librarys_reward_calibration_and_advantages() -> None:
    pytest.importorskip("stable_baselines3")
    from gymnasium import spaces

    from rltemp.agents.buffer import StudentRolloutBuffer
    from rltemp.agents.credit.calibration import Influence
    from rltemp.distillation.scores import cross_entropy
    from rltemp.envs.contract import Transition

    single = load("single_file")
    probe, targets = next(logits(4, 50, 10)), torch.arange(50) % 10
    torch.testing.assert_close(single.probe_loss(probe, targets), cross_entropy(probe.double(), targets))

    steps, students, instances = 6, 2, 3
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(1, students)).astype(np.float32)
    influence = rng.normal(size=(1, students, instances)).astype(np.float32)
    nothing = np.ones((students, instances), np.float32)
    calibrated = Influence(2.0).calibrate(Transition(nothing[..., None], nothing, reward[0], influence[0]))
    ours = single.calibrate(torch.from_numpy(reward), torch.from_numpy(influence), 2.0)
    np.testing.assert_allclose(ours[0].numpy(), calibrated, rtol=1e-5)

    slots = students * instances
    pay, values = (rng.normal(size=(steps, slots)).astype(np.float32) for _ in range(2))
    space = spaces.Box(0, 1, (1,))
    buffer = StudentRolloutBuffer(
        steps, space, space, "cpu", gae_lambda=0.95, gamma=1.0, n_envs=slots, group_size=instances
    )
    buffer.rewards, buffer.values = pay, values
    buffer.episode_starts = np.zeros((steps, slots), np.float32)
    buffer.compute_returns_and_advantage(torch.zeros(slots), np.ones(slots))
    shape = (steps, students, instances)
    given = single.advantages(torch.from_numpy(pay).view(shape), torch.from_numpy(values).view(shape), 0.95)
    np.testing.assert_allclose(given.view(steps, slots).numpy(), buffer.advantages, rtol=1e-4, atol=1e-5)
