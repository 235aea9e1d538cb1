"""Trainers of language models, each with the real package and networks built from configurations."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import rltemp
from tests.examples.loading import EXAMPLES, load

SCHEDULE = "rltemp/cifar100-schedule"
"""It looks at no batch, which would be another one in two processes."""


def losses_of(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.fixture(scope="module")
def huggingface() -> ModuleType:
    pytest.importorskip("transformers")
    return load("huggingface_lm")


def test_a_policy_out_of_a_folder_trains_in_bfloat16(huggingface: ModuleType, tmp_path: Path) -> None:
    policy = rltemp.LearnedPolicy(rltemp.LogitFeatures(("position", "teacher_entropy", "student_rank")), scale=1.0)
    folder = str(rltemp.save_policy(policy, tmp_path / "policy"))
    trainer = huggingface.main(str(tmp_path / "run"), folder)
    losses = losses_of(trainer)
    assert losses[-1] < 0.95 * losses[0]
    assert trainer.args.bf16


def test_packed_texts_are_texts_by_themselves(huggingface: ModuleType) -> None:
    torch.manual_seed(0)
    model, row = huggingface.language_model(24, 1).eval(), huggingface.PackedTexts(1)[0]
    (border,) = (row["position_ids"] == 0).nonzero()[1:, 0].tolist()
    packed = huggingface.hidden_states(model, {name: part[None] for name, part in row.items()})[0]
    for own in (slice(0, border), slice(border, None)):
        alone = huggingface.hidden_states(model, {name: part[None, own] for name, part in row.items()})[0]
        torch.testing.assert_close(packed[own][: len(alone)], alone, rtol=1e-4, atol=1e-6)
    # What the last token of a text would predict is of no text.
    assert row["labels"][[0, border]].tolist() == [-100, -100]


def test_accumulated_batches_make_the_mean_over_all_their_tokens(huggingface: ModuleType, tmp_path: Path) -> None:
    trainer = huggingface.main(str(tmp_path), max_steps=1, bf16=False)
    trainer.model.criterion.policy = rltemp.make_policy("static", temperature=2.0)
    texts = huggingface.PackedTexts(6)
    whole, *parts = (
        {k: torch.stack([texts[i][k] for i in rows]) for k in texts[0]} for rows in (range(6), (0, 1), (2, 3, 4, 5))
    )
    count = int((whole["labels"][:, 1:] != -100).sum())
    with torch.no_grad():
        total = sum(trainer.compute_loss(trainer.model, part, num_items_in_batch=count) for part in parts)
        torch.testing.assert_close(total, trainer.compute_loss(trainer.model, whole))
        ours, theirs = (
            model(whole["input_ids"], position_ids=whole["position_ids"], use_cache=False).logits[:, :-1]
            for model in (trainer.model, trainer.teacher)
        )
        plain = trainer.model.criterion(ours, theirs, whole["labels"][:, 1:], progress=1.0)
    torch.testing.assert_close(total, plain, rtol=1e-4, atol=1e-6)


def test_two_processes_train_what_one_does(huggingface: ModuleType, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    code = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); import huggingface_lm\n"
        f"options = dict(policy={SCHEDULE!r}, max_steps=3, bf16=False, per_device_train_batch_size=2)\n"
        "huggingface_lm.main(sys.argv[1], **options).save_model()\n"
    )
    (tmp_path / "run.py").write_text(code)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, str(tmp_path / "run.py"), str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one = huggingface.main(str(tmp_path / "one"), SCHEDULE, max_steps=3, bf16=False)
    both = safetensors.load_file(tmp_path / "two" / "model.safetensors")
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(both[name], value, rtol=1e-3, atol=1e-5)


class Recorded:
    """Stands where Axolotl puts its fused loss, and notes the temperature of every call."""

    def __init__(self, collator: Any) -> None:
        self.temperature, self.collator = 4.0, collator
        self.seen: list[tuple[float, float]] = []

    def __call__(self, logits: Tensor, labels: Tensor, **_: Any) -> Tensor:
        self.seen.append((self.temperature, self.collator.kd_temperature))
        return logits.square().mean()


class Collator:
    """As Axolotl's, with the temperature by which the teacher is softened."""

    kd_temperature = 4.0

    def __call__(self, rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def test_axolotls_callback_moves_the_temperature_of_loss_and_collator(huggingface: ModuleType, tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    example, collator = load("axolotl_plugin"), Collator()
    model = huggingface.language_model(16, 1)
    model._loss_function = loss = Recorded(collator)
    options: dict[str, Any] = {"max_steps": 5, "use_cpu": True, "report_to": "none", "save_strategy": "no"}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(str(tmp_path), disable_tqdm=True, **options),
        data_collator=collator,
        train_dataset=huggingface.PackedTexts(8),
    )
    for callback in example.TemperaturePlugin().add_callbacks_post_trainer(None, trainer):
        trainer.add_callback(callback)
    trainer.train()
    # 4 to 1, log-linear, at the share of the steps that are done.
    expected = [4.0 ** (1 - step / 5) for step in range(5)]
    assert [seen for seen, _ in loss.seen] == pytest.approx(expected)
    assert [taught for _, taught in loss.seen] == pytest.approx([4.0, *expected[1:]], rel=0.35)
    with pytest.raises(rltemp.InputError, match="policy must be a schedule of one temperature"):
        example.temperature_at(rltemp.make_policy("normkd"), 0.5)
    with pytest.raises(rltemp.InputError, match="policy must be a schedule of one temperature"):
        example.temperature_at(rltemp.make_policy("anneal", scale=4.0), 0.5)


def test_trl_distillation_on_the_students_own_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trl = pytest.importorskip("trl")
    monkeypatch.syspath_prepend(EXAMPLES)
    trainer = load("trl_distillation").main(str(tmp_path))
    losses = losses_of(trainer)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])

    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    student = trainer.accelerator.unwrap_model(trainer.model)
    trainer.criterion.policy = rltemp.make_policy("static", temperature=1.0)
    for counted in (None, torch.tensor(40.0)):
        theirs = trl.DistillationTrainer._compute_loss(trainer, student, batch, counted)
        ours = trainer._compute_loss(student, batch, counted)
        torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=1e-7)
        assert ours[2] == theirs[2]
    # TRL's kernel has no T^2, and one temperature for all.
    trainer.criterion.policy, trainer.temperature = rltemp.make_policy("static", temperature=2.0, scale=1.0), 2.0
    theirs = trl.DistillationTrainer._compute_loss(trainer, student, batch, None)
    torch.testing.assert_close(trainer._compute_loss(student, batch, None)[0], theirs[0], rtol=1e-4, atol=1e-7)
