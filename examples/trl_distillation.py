"""TRL's DistillationTrainer, on the student's own samples, with a temperature per token.

    python examples/trl_distillation.py

TRL's own loss is a kernel with one temperature for all tokens, the same with which the student is sampled. Here
`temperature` of the configuration is that of the samples alone, and the loss takes those of a policy. Networks and
questions are those of examples/trl_gkd.py: nothing is downloaded.
"""

import sys
import tempfile
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from trl import DistillationConfig, DistillationTrainer
from trl_gkd import conversations, language_model, tokenizer

import rltemp
from rltemp.objectives import ReverseKD
from rltemp.tokens import linear_distillation_loss


class PolicyDistillationTrainer(DistillationTrainer):
    """Distillation on the student's samples at the temperatures of a policy.

    `_compute_loss` is what TRL calls within the wrapper for data-parallel training; it is no public name, and may move.
    """

    def __init__(self, *args: Any, criterion: rltemp.DistillationLoss, **options: Any) -> None:
        super().__init__(*args, **options)
        self.criterion = criterion.to(self.args.device)

    def _compute_loss(
        self, unwrapped_student: nn.Module, inputs: dict[str, Tensor], num_items_in_batch: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, the students' entropy (which TRL logs, and which is not computed), and tokens that count."""
        teacher = self.accelerator.unwrap_model(self.teacher_model.eval())
        counts = inputs["completion_mask"].bool()
        with torch.no_grad():
            taught = self._hidden(teacher, inputs)
        loss = linear_distillation_loss(
            self.criterion,
            self._hidden(unwrapped_student, inputs),
            unwrapped_student.get_output_embeddings().weight,
            taught,
            teacher.get_output_embeddings().weight,
            progress=self.state.global_step / self.state.max_steps,
            mask=counts,
        )
        if num_items_in_batch is not None:
            loss = loss * counts.sum() / num_items_in_batch
        return loss, torch.full_like(loss.detach(), torch.nan), counts.sum()

    def _hidden(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """What the last layer gets where it predicts the sampled tokens, [B, L, H]."""
        ids, attention = (
            torch.cat([inputs[f"prompt_{part}"], inputs[f"completion_{part}"]], dim=1) for part in ("ids", "mask")
        )
        return self._get_last_hidden_state(model, ids, attention, inputs["completion_ids"].shape[1])


def main(folder: str | None = None, policy: rltemp.TemperaturePolicy | None = None) -> DistillationTrainer:
    """Distill a fresh teacher's distribution into a student; the trainer."""
    torch.manual_seed(0)
    teacher, student = language_model(24, 1), language_model(24, 1)
    with torch.no_grad():
        teacher.lm_head.weight.mul_(10.0)  # sure of something, as a trained one would be
    questions = Dataset.from_dict({"prompt": [row["messages"][:1] for row in conversations(32)]})
    trainer = PolicyDistillationTrainer(
        student,
        teacher,
        args=DistillationConfig(
            folder or tempfile.mkdtemp(),
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            max_steps=8,
            learning_rate=1e-2,
            max_completion_length=6,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
        ),
        criterion=rltemp.DistillationLoss(
            policy or rltemp.make_policy("adakd"), ReverseKD(), ce_weight=0.0, kd_weight=1.0
        ),
        train_dataset=questions,
        processing_class=tokenizer(),
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:2])
