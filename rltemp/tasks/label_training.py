"""Training of networks, such as teachers, on labels alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.distillation.divergence import first_diverged, is_due
from rltemp.distillation.minibatches import MinibatchStream
from rltemp.distillation.optimization import learning_rate, make_optimizer, set_learning_rate
from rltemp.distillation.randomness import ForwardSeeds
from rltemp.distillation.students import Students
from rltemp.errors import DivergenceError
from rltemp.recipes.schema import Optimization

__all__ = ["train_on_labels"]


def train_on_labels(
    members: Students,
    minibatches: MinibatchStream,
    seeds: ForwardSeeds,
    settings: Optimization,
    advance: Callable[[], None],
) -> None:
    """Train networks side by side on the cross-entropy with the labels.

    Args:
        members: the K networks, trained in place.
        minibatches: their training data.
        seeds: source of the seeds of their random layers.
        settings: epochs, batch size, and optimizer.
        advance: called after every update.

    Raises:
        DivergenceError: for networks whose logits are not finite, or too large to recover.
    """
    optimizer = make_optimizer(members.parameters(), settings)
    steps = settings.epochs * minibatches.per_epoch
    members.train()
    for step in range(steps):
        minibatch = minibatches.draw()
        logits = members(minibatch.images, seeds.draw()).logits
        if is_due(logits, step):
            _refuse_diverged(logits, minibatch.targets, step)
        losses = F.cross_entropy(logits.flatten(0, 1), minibatch.targets.flatten(), reduction="none")
        set_learning_rate(optimizer, learning_rate(settings, step / steps))
        optimizer.zero_grad()
        losses.view(minibatch.targets.shape).mean(1).sum().backward()
        optimizer.step()
        advance()
        if step == steps - 1:
            with torch.no_grad():
                logits = members.evaluate_each(minibatch.images).logits
                _refuse_diverged(logits, minibatch.targets, steps, bounded=not members.normalizations())


def _refuse_diverged(logits: Tensor, targets: Tensor, step: int, bounded: bool = True) -> None:
    if (found := first_diverged(logits, targets, bounded=bounded)) is not None:
        raise DivergenceError(f"the teacher diverged at update {step} (loss {found[1]:.3g}): lower teacher.lr")
