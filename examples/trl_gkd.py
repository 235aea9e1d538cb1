"""TRL's GKDTrainer with a temperature per token, in half of its steps on the student's own samples.

    python examples/trl_gkd.py

Networks are built from configurations and sentences are made up, so nothing is downloaded.
"""

import sys
import tempfile
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl.experimental.gkd import GKDConfig, GKDTrainer

import rltemp
from rltemp.objectives import JensenShannonKD
from rltemp.tokens import linear_distillation_loss

WORDS = [f"w{i}" for i in range(60)]
CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words."""
    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["<pad>", "<eos>", *WORDS])}, unk_token="<pad>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", padding_side="left")
    fast.chat_template = CHAT
    return fast


def conversations(size: int) -> Dataset:
    """Questions name a word and a step, answers count on from there."""
    rows = []
    for start, step, length in torch.randint(1, 9, (size, 3)).tolist():
        counted = [WORDS[(start + step * i) % len(WORDS)] for i in range(3 + length)]
        question, answer = " ".join(counted[:3]), " ".join(counted[3:])
        rows.append([{"role": "user", "content": question}, {"role": "assistant", "content": answer}])
    return Dataset.from_dict({"messages": rows})


def language_model(width: int, layers: int) -> LlamaForCausalLM:
    """A Llama of any size, with fresh weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS) + 2,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=64,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


class PolicyGKDTrainer(GKDTrainer):
    """GKD at the temperatures of a policy, from hidden states: neither network's logits are held for all tokens."""

    def __init__(self, *args: Any, criterion: rltemp.DistillationLoss, **options: Any) -> None:
        super().__init__(*args, **options)
        self.criterion = criterion.to(self.args.device)

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean over the answers' tokens; over those of all accumulated batches where the Trainer counted them."""
        student, teacher = self.accelerator.unwrap_model(model), self.accelerator.unwrap_model(self.teacher_model)
        with torch.no_grad():
            taught = hidden_states(self.teacher_model.eval(), inputs)
        labels = inputs["labels"][:, 1:]
        loss = linear_distillation_loss(
            self.criterion,
            hidden_states(model, inputs),
            student.get_output_embeddings().weight,
            taught,
            teacher.get_output_embeddings().weight,
            labels,
            progress=self.state.global_step / self.state.max_steps,
        )
        if num_items_in_batch is not None:
            loss = loss * (labels != -100).sum() / num_items_in_batch
        return (loss, None) if return_outputs else loss


def hidden_states(model: nn.Module, inputs: Any) -> Tensor:
    """What the last layer gets at every position but the last, [B, L - 1, H]; logits of one position only.

    The model is called as a whole, since a wrapper for data-parallel training must see it.
    """
    outputs = model(
        inputs["input_ids"], attention_mask=inputs["attention_mask"], output_hidden_states=True, logits_to_keep=1
    )
    return outputs.hidden_states[-1][:, :-1]


def main(folder: str | None = None, policy: rltemp.TemperaturePolicy | None = None) -> GKDTrainer:
    """Train a teacher on counting, distill it; the trainer of the student."""
    folder, words = folder or tempfile.mkdtemp(), tokenizer()
    torch.manual_seed(0)
    teacher, student, data = language_model(48, 2), language_model(24, 1), conversations(64)
    options: dict[str, Any] = {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        "max_length": 32,
        "max_new_tokens": 6,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": not torch.cuda.is_available(),
    }
    # By labels alone, the teacher beside itself: ordinary training.
    labels = rltemp.DistillationLoss(rltemp.make_policy("static", temperature=1.0), ce_weight=1.0, kd_weight=0.0)
    fresh = GKDConfig(f"{folder}/teacher", num_train_epochs=3, lmbda=0.0, **options)
    trained = PolicyGKDTrainer(
        teacher, teacher, args=fresh, criterion=labels, train_dataset=data, processing_class=words
    )
    trained.train()

    policy = policy or rltemp.make_policy("adakd")
    trainer = PolicyGKDTrainer(
        student,
        teacher,
        args=GKDConfig(f"{folder}/student", num_train_epochs=5, lmbda=0.5, **options),
        criterion=rltemp.DistillationLoss(policy, JensenShannonKD(0.5), ce_weight=0.0, kd_weight=1.0),
        train_dataset=data,
        processing_class=words,
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:2])
