"""Hugging Face Trainer (and with it Accelerate): a text classifier distilled at a learned temperature.

    python examples/huggingface_trainer.py

Networks are built from configurations and texts are made up, so nothing is downloaded.
"""

import sys
import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import rltemp

VOCABULARY, LENGTH, CLASSES = 50, 12, 3


class MadeUpTexts(Dataset[dict[str, Tensor]]):
    """Random tokens; the class is which of three words stands first."""

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(CLASSES + 1, VOCABULARY, (size, LENGTH), generator=generator)
        self.labels = torch.randint(CLASSES, (size,), generator=generator)
        self.tokens[:, 0] = self.labels + 1

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One text and its class."""
        return {"input_ids": self.tokens[index], "labels": self.labels[index]}


def classifier(width: int, layers: int) -> BertForSequenceClassification:
    """A BERT of any size, with fresh weights."""
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=2 * width,
            max_position_embeddings=LENGTH,
            num_labels=CLASSES,
            hidden_dropout_prob=0.0,
        )
    )


class DistillationTrainer(Trainer):
    """A Trainer with a teacher and a criterion.

    The criterion is made a part of the student: so the Trainer optimizes, distributes, saves and resumes both.
    """

    def __init__(
        self, model: nn.Module, teacher: nn.Module, criterion: rltemp.DistillationLoss, **options: Any
    ) -> None:
        model.criterion = criterion
        super().__init__(model=model, **options)
        self.teacher = teacher.requires_grad_(False).eval().to(self.args.device)

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """Cross-entropy and distillation, at the temperatures of the policy."""
        outputs = model(**inputs)
        teacher_logits = self.teacher(**inputs).logits
        progress = self.state.global_step / self.state.max_steps
        criterion = self.accelerator.unwrap_model(model).criterion
        loss = criterion(outputs.logits, teacher_logits, inputs["labels"], progress)
        return (loss, outputs) if return_outputs else loss


def main(folder: str | None = None) -> Trainer:
    """Train a teacher, distill it, and leave checkpoints in `folder`; the trainer of the student."""
    folder = folder or tempfile.mkdtemp()
    texts = MadeUpTexts(192, seed=0)
    options: dict[str, Any] = {
        "per_device_train_batch_size": 16,
        "learning_rate": 3e-3,
        "logging_steps": 6,
        "seed": 0,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
    }
    torch.manual_seed(0)
    teacher, student = classifier(width=32, layers=2), classifier(width=16, layers=1)
    arguments = TrainingArguments(f"{folder}/teacher", num_train_epochs=2, save_strategy="no", **options)
    Trainer(model=teacher, args=arguments, train_dataset=texts).train()

    trainer = DistillationTrainer(
        student,
        teacher,
        rltemp.DistillationLoss(rltemp.make_policy("ctkd", ramp=0.1)),
        args=TrainingArguments(f"{folder}/student", num_train_epochs=3, save_steps=12, **options),
        train_dataset=texts,
    )
    trainer.train()
    print(f"learned temperature {1 + 20 * torch.sigmoid(student.criterion.policy.logit).item():.2f}")
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:2])
