"""The network that is distilled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rltemp.distillation.minibatches import MinibatchStream
from rltemp.distillation.optimization import learning_rate, make_optimizer, set_learning_rate
from rltemp.distillation.students import Students
from rltemp.networks import Execution, Network
from rltemp.recipes.schema import Optimization

__all__ = ["Ensemble", "train_members"]


class Ensemble(nn.Module):
    """Mean logits of its members, frozen."""

    def __init__(self, members: Sequence[Network], execution: Execution | None = None) -> None:
        super().__init__()
        self.execution = execution or Execution()
        self.members = nn.ModuleList(self.execution.prepare(member) for member in members)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of images [N, ...]."""
        with torch.no_grad():
            return torch.stack([self.execution.logits(member, images) for member in self._networks()]).mean(0)

    def _networks(self) -> list[Network]:
        return [member for member in self.members if isinstance(member, Network)]


def train_members(
    members: Students, minibatches: MinibatchStream, settings: Optimization, advance: Callable[[], None]
) -> None:
    """Train networks side by side on labels alone; `advance` is called after every update."""
    optimizer = make_optimizer(members.parameters(), settings)
    steps = settings.epochs * minibatches.per_epoch
    members.train()
    for step in range(steps):
        minibatch = minibatches.draw()
        logits = members(minibatch.images).logits
        losses = F.cross_entropy(logits.flatten(0, 1), minibatch.targets.flatten(), reduction="none")
        set_learning_rate(optimizer, learning_rate(settings, step / steps))
        optimizer.zero_grad()
        losses.view(minibatch.targets.shape).mean(1).sum().backward()
        optimizer.step()
        advance()
