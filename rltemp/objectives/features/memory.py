"""The memory bank of contrastive distillation (Tian et al., 2020): embeddings of all training images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rltemp.checks import check_targets
from rltemp.errors import InputError
from rltemp.transfer import to_device

__all__ = ["MemoryBank"]


class MemoryBank(nn.Module):
    """Embeddings [N, E] of all training images by student and by teacher, from which negatives are drawn.

    Args:
        instances: N.
        embedding: E.
        labels: [N] class indices; negatives are of another class. None makes every other image a negative.
        momentum: share of an entry that an update keeps, in [0, 1].
        generator: draws the initial entries and the negatives; its state is part of `state_dict()`.

    Raises:
        InputError: for labels of fewer than two classes.
    """

    def __init__(
        self, instances: int, embedding: int, labels: Tensor | None, momentum: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        labels = torch.arange(instances) if labels is None else labels
        check_targets(labels, instances, max(instances, int(labels.max()) + 1))
        self.instances, self.momentum, self.generator = instances, momentum, generator
        bound = (embedding / 3.0) ** -0.5
        for name in ("student", "teacher"):
            start = torch.rand(instances, embedding, generator=generator, device=generator.device)
            self.register_buffer(name, (2.0 * start - 1.0) * bound)
        # In the order of classes, the instances of one class are a block that draws skip.
        classes, sizes = labels.unique(return_counts=True)
        if len(classes) < 2:
            raise InputError(f"labels must be of at least two classes, got {len(classes)}")
        self.register_buffer("order", labels.argsort(stable=True), persistent=False)
        block = torch.searchsorted(classes, labels)
        self.register_buffer("block_start", (sizes.cumsum(0) - sizes)[block], persistent=False)
        self.register_buffer("block_size", sizes[block], persistent=False)

    def draw(self, indices: Tensor, count: int) -> Tensor:
        """Indices [B, count] of negatives of the instances `indices` [B], uniform and with replacement."""
        start, size = (self.get_buffer(name)[indices][:, None] for name in ("block_start", "block_size"))
        shape = (len(indices), count)
        draws = torch.rand(shape, generator=self.generator, device=self.generator.device, dtype=torch.float64)
        others = self.instances - size
        place = (to_device(draws, indices.device) * others).long().clamp(max=others - 1)
        return self.get_buffer("order")[torch.where(place < start, place, place + size)]

    def entries(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [..., E] of the instances `indices` [...], by student and by teacher."""
        return self.get_buffer("student")[indices], self.get_buffer("teacher")[indices]

    def update(self, indices: Tensor, student: Tensor, teacher: Tensor) -> None:
        """Average the entries of `indices` [B] with new embeddings [B, E], by the momentum, and normalize them."""
        for name, new in (("student", student), ("teacher", teacher)):
            bank = self.get_buffer(name)
            mixed = self.momentum * bank[indices] + (1.0 - self.momentum) * new.to(bank.dtype)
            bank[indices] = F.normalize(mixed, dim=1)

    def get_extra_state(self) -> Tensor:
        """State of the generator, for `state_dict()`."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the generator from a state that `get_extra_state()` returned."""
        self.generator.set_state(state.cpu())
