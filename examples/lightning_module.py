"""PyTorch Lightning: student, teacher and criterion in one module.

python examples/lightning_module.py
"""

import sys
import tempfile

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import rltemp


class Distillation(lightning.LightningModule):
    """Distills a frozen teacher; checkpoints hold the student and the criterion, not the teacher."""

    def __init__(self, student: nn.Module, teacher: nn.Module, criterion: rltemp.DistillationLoss) -> None:
        super().__init__()
        self.student, self.criterion = student, criterion
        # In a list, it is no part of the module: not trained, not saved.
        self._teacher = [teacher.requires_grad_(False).eval()]

    def on_fit_start(self) -> None:
        """Follow the student to its device."""
        self._teacher[0].to(self.device)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of one minibatch."""
        images, targets = batch
        progress = self.global_step / self.trainer.estimated_stepping_batches
        parts = self.criterion.parts(self.student(images), self._teacher[0](images), targets, progress)
        self.log_dict({"ce": parts.ce, "kd": parts.kd, "temperature": parts.temperatures.student.mean()})
        return parts.total

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimizer for the student and for what the policy learns."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


def made_up_data() -> TensorDataset:
    """Points in 8 dimensions, in 4 classes."""
    centers, noise = 2 * torch.randn(4, 8), torch.randn(256, 8)
    targets = torch.arange(256) % 4
    return TensorDataset(centers[targets] + noise, targets)


def train_teacher(data: TensorDataset) -> nn.Module:
    """A larger network, trained on the labels."""
    teacher = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(teacher(data.tensors[0]), data.tensors[1]).backward()
        optimizer.step()
    return teacher


def main(folder: str | None = None) -> lightning.Trainer:
    """Distill, and leave a checkpoint in `folder`; the trainer."""
    torch.manual_seed(0)
    data = made_up_data()
    teacher, student = train_teacher(data), nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    module = Distillation(student, teacher, rltemp.DistillationLoss(rltemp.make_policy("ctkd", ramp=0.1)))
    trainer = lightning.Trainer(
        max_epochs=4,
        default_root_dir=folder or tempfile.mkdtemp(),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(data, batch_size=32, shuffle=True))
    print({name: round(value.item(), 3) for name, value in trainer.callback_metrics.items()})
    return trainer


if __name__ == "__main__":
    main(*sys.argv[1:2])
