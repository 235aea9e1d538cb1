"""Hugging Face Trainer for language models: packed sequences, accumulated gradients, bfloat16, any number of processes.

    python examples/huggingface_lm.py [FOLDER [POLICY]]
    torchrun --nproc-per-node 2 examples/huggingface_lm.py [FOLDER [POLICY]]

POLICY is the folder or the name of a trained policy; `rltemp.load_policy_from_hub` gets one from the Hub. Networks are
built from configurations and texts are made up, so nothing is downloaded.
"""

import sys
import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

import rltemp
from rltemp.tokens import linear_distillation_loss

VOCABULARY, LENGTH, IGNORED = 60, 24, -100


class PackedTexts(Dataset[dict[str, Tensor]]):
    """Rows of texts that count upwards, end to end: positions begin anew with each, and its first token is no label."""

    def __init__(self, size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rows = [self._row(generator) for _ in range(size)]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Tokens, positions and labels, [LENGTH] each."""
        return self.rows[index]

    @staticmethod
    def _row(generator: torch.Generator) -> dict[str, Tensor]:
        border, *numbers = torch.randint(6, LENGTH - 6, (5,), generator=generator).tolist()
        tokens, positions = [], []
        for length, start, step in ((border, *numbers[:2]), (LENGTH - border, *numbers[2:])):
            tokens.append((start + step * torch.arange(length)) % VOCABULARY)
            positions.append(torch.arange(length))
        place = torch.cat(positions)
        labels = torch.cat(tokens).masked_fill(place == 0, IGNORED)
        return {"input_ids": torch.cat(tokens), "position_ids": place, "labels": labels}


def language_model(width: int, layers: int) -> LlamaForCausalLM:
    """A Llama of any size, with fresh weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
        )
    )


class LanguageDistillationTrainer(Trainer):
    """A Trainer with a teacher and a criterion, which is a part of the student: trained, saved and wrapped with it."""

    def __init__(
        self, model: nn.Module, teacher: nn.Module, criterion: rltemp.DistillationLoss, **options: Any
    ) -> None:
        model.criterion = criterion
        super().__init__(model=model, **options)
        self.teacher = teacher.requires_grad_(False).eval().to(self.args.device)
        # So that accumulated batches are told how many tokens there are in all of them.
        self.model_accepts_loss_kwargs = True

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over the tokens with a label, of all accumulated batches and processes where they were counted."""
        student, labels = self.accelerator.unwrap_model(model), inputs["labels"][:, 1:]
        with torch.no_grad():
            taught = hidden_states(self.teacher, inputs)
        loss = linear_distillation_loss(
            student.criterion,
            hidden_states(model, inputs),
            student.lm_head.weight,
            taught,
            self.teacher.lm_head.weight,
            labels,
            progress=self.state.global_step / max(1, self.state.max_steps),
        )
        if num_items_in_batch is not None:
            # Data-parallel wrappers take the mean over processes; the count is the sum.
            loss = loss * (labels != IGNORED).sum() / num_items_in_batch * self.accelerator.num_processes
        return (loss, None) if return_outputs else loss


def hidden_states(model: nn.Module, inputs: Any) -> Tensor:
    """What the last layer gets at every position but the last, [B, L - 1, H]; the wrapper sees the whole model.

    Without a mask and without a cache, positions tell transformers where one text ends; with a cache, which a model in
    evaluation mode makes by itself, they do not, and texts would see one another.
    """
    outputs = model(
        input_ids=inputs["input_ids"],
        position_ids=inputs["position_ids"],
        output_hidden_states=True,
        logits_to_keep=1,
        use_cache=False,
    )
    return outputs.hidden_states[-1][:, :-1]


def main(folder: str | None = None, policy: str | None = None, **options: Any) -> LanguageDistillationTrainer:
    """Distill a fresh teacher; the trainer. `options` are of `TrainingArguments`."""
    torch.manual_seed(0)
    teacher, student = language_model(48, 2), language_model(24, 1)
    with torch.no_grad():
        teacher.lm_head.weight.mul_(10.0)  # sure of something, as a trained one would be
    chosen = rltemp.load_policy(policy) if policy else rltemp.make_policy("adakd")
    usual: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 12,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": True,
        "use_cpu": not torch.cuda.is_available(),
    }
    trainer = LanguageDistillationTrainer(
        student,
        teacher,
        rltemp.DistillationLoss(chosen),
        args=TrainingArguments(folder or tempfile.mkdtemp(), **{**usual, **options}),
        train_dataset=PackedTexts(96),
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:3]).save_model()
