"""torchdistill: a temperature policy as a registered loss, named in a configuration, trained by its `DistillationBox`.

python examples/torchdistill_loss.py
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import RandomSampler, TensorDataset
from torchdistill.core.distillation import DistillationBox
from torchdistill.losses.registry import register_mid_level_loss

import rltemp

EPOCHS, BATCH, INSTANCES = 4, 16, 128


@register_mid_level_loss
class PolicyLoss(nn.Module):
    """Cross-entropy and distillation at the temperatures of a policy.

    torchdistill tells a loss nothing of the run's progress, so it counts its own calls. Its optimizer takes the
    networks' parameters alone: a rule that learns (CTKD) would stay at its start.

    Args:
        steps: updates of the whole run.
        policy: name of a rule, or a trained policy's folder.
        options: of the rule.
    """

    def __init__(self, steps: int, policy: str, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        named = policy in rltemp.list_policies()
        chooser = rltemp.make_policy(policy, **(options or {})) if named else rltemp.load_policy(policy)
        self.criterion = rltemp.DistillationLoss(chooser)
        self.steps = steps
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def forward(self, student_io: Any, teacher_io: Any, targets: Tensor) -> Tensor:
        """The loss of the outputs that torchdistill recorded."""
        progress = (self.get_buffer("done") / self.steps).clamp(max=1.0)
        self.get_buffer("done").add_(1)
        return self.criterion(student_io["."]["output"], teacher_io["."]["output"], targets, progress)


def configuration() -> dict[str, Any]:
    """What stands in a YAML file otherwise."""
    loss = {"key": "PolicyLoss", "kwargs": {"steps": EPOCHS * INSTANCES // BATCH, "policy": "anneal"}}
    return {
        "num_epochs": EPOCHS,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler, "kwargs": {}},
            "kwargs": {"batch_size": BATCH},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only"},
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.1, "momentum": 0.9}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"policy": {"criterion": loss, "weight": 1.0}}},
        },
    }


def train_teacher(points: Tensor, targets: Tensor) -> nn.Module:
    """A larger network, trained on the labels."""
    teacher = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(teacher(points), targets).backward()
        optimizer.step()
    return teacher


def main() -> list[float]:
    """Distill with torchdistill; the mean loss of every epoch."""
    torch.manual_seed(0)
    targets = torch.arange(INSTANCES) % 4
    points = (2 * torch.randn(4, 8))[targets] + torch.randn(INSTANCES, 8)
    teacher, student = train_teacher(points, targets), nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    data = {"train": TensorDataset(points, targets)}
    box = DistillationBox(teacher, student, data, configuration(), torch.device("cpu"), None, False, 1.0)
    means = []
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        losses = []
        for batch, labels, extra in box.train_data_loader:
            loss = box.forward_process(batch, labels, extra)
            box.post_forward_process(loss=loss)
            losses.append(loss.item())
        box.post_epoch_process()
        means.append(sum(losses) / len(losses))
        print(f"epoch {epoch}  loss {means[-1]:.3f}")
    return means


if __name__ == "__main__":
    main()
