"""The random order in which a run sees its data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rltemp.errors import InputError

__all__ = ["BatchIndices"]


class BatchIndices:
    """Batches of indices, epoch after epoch, each epoch in a new random order.

    Iterating yields the rest of the current epoch, and the next iteration the next epoch. `take` returns one batch, and
    goes on to the next epoch by itself.

    Args:
        total: number of instances N.
        batch_size: instances per batch, in [1, N].
        generator: draws one permutation per epoch. This object owns it, and saves its state.
        drop_last: leave out the incomplete batch at the end of each epoch, so that all have one size; otherwise the
            last batch is smaller, and an epoch holds every instance exactly once.

    Raises:
        InputError: for a batch size < 1 or > N.
    """

    def __init__(self, total: int, batch_size: int, generator: torch.Generator, *, drop_last: bool) -> None:
        if not 1 <= batch_size <= total:
            raise InputError(f"batch_size must lie in [1, {total}], the number of instances, got {batch_size}")
        self.total = total
        self.batch_size = batch_size
        self.drop_last = drop_last
        self._generator = generator
        self._epoch = 0
        self._position = 0
        self._order = self._permutation()

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.total // self.batch_size if self.drop_last else -(-self.total // self.batch_size)

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return self._epoch

    @property
    def position(self) -> int:
        """Number of batches taken from the current epoch."""
        return self._position

    def take(self) -> Tensor:
        """Take the next batch of indices: int64 on the generator's device, [batch_size], or fewer at an epoch's end."""
        batch = self._order[self._position * self.batch_size : (self._position + 1) * self.batch_size]
        self._position += 1
        if self._position == len(self):
            self._epoch, self._position, self._order = self._epoch + 1, 0, self._permutation()
        return batch

    def remaining(self) -> tuple[Tensor, ...]:
        """All batches of indices left in the current epoch, without taking them."""
        batches: tuple[Tensor, ...] = self._order.split(self.batch_size)
        return batches[self._position : len(self)]

    def __iter__(self) -> Iterator[Tensor]:
        """Take the batches of indices left in the current epoch, one by one."""
        for _ in range(len(self) - self._position):
            yield self.take()

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the batches to come: epoch, position, permutation, and generator."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "order": self._order.clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the batches to come are the same.

        Raises:
            InputError: for the state of another number of instances, or values that are no order of them.
        """
        order, epoch, position = state["order"], state["epoch"], state["position"]
        if len(order) != self.total:
            raise InputError(f"state must be of {self.total} instances, got one of {len(order)}")
        if order.dtype != torch.int64 or not torch.equal(order.sort().values.cpu(), torch.arange(self.total)):
            raise InputError(f"order must hold each of {self.total} instances once")
        if not (isinstance(epoch, int) and isinstance(position, int) and epoch >= 0 and 0 <= position < len(self)):
            raise InputError(f"epoch must be >= 0 and position in [0, {len(self)}), got {epoch!r} and {position!r}")
        self._epoch, self._position = epoch, position
        self._order = order.to(self._generator.device, copy=True)
        self._generator.set_state(state["generator"])

    def _permutation(self) -> Tensor:
        return torch.randperm(self.total, generator=self._generator, device=self._generator.device)
