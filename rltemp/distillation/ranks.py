"""The processes that make one run together, one device each, by `torch.distributed`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from rltemp.errors import InputError

__all__ = ["ALONE", "Ranks", "RefusedElsewhereError"]

T = TypeVar("T")


class RefusedElsewhereError(InputError):
    """A refusal that another process of the run reports."""


@dataclasses.dataclass(frozen=True)
class Ranks:
    """The processes of one run, which `torch.distributed` connects; a process that is alone exchanges nothing.

    Every process makes the same decisions: it draws what all draw, takes its own share of the work, and sees what the
    others found. What the methods exchange, all processes must ask for, in the same order.

    Attributes:
        index: of this process, in [0, count); the first one shows and writes.
        count: number of processes.
        device: of this process; None for the one that the recipe names.
    """

    index: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process shows and writes what all know."""
        return self.index == 0

    def share(self, name: str, total: int) -> slice:
        """This process's part of `total` things in a row, such as the instances of a minibatch.

        Raises:
            InputError: that calls the number by `name`, if it is no multiple of the number of processes.
        """
        size, rest = divmod(total, self.count)
        if rest:
            raise InputError(f"{name} must be a multiple of the {self.count} processes of this run, got {total}")
        return slice(self.index * size, (self.index + 1) * size)

    def whole(self, own: Tensor) -> Tensor:
        """The values [K, B, ...] of all processes from this one's [K, B / count, ...], the same in every process.

        A gradient flows back to the own ones alone, times `count`: `wrap` divides by it.
        """
        if self.count == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.count)]
        distributed.all_gather(parts, own.detach().contiguous())
        if own.requires_grad:
            parts[self.index] = own.view_as(own)
            parts[self.index].register_hook(lambda gradient: gradient * self.count)
        return torch.cat(parts, dim=1)

    def wrap(self, students: nn.Module) -> nn.Module:
        """The students for their training forward pass, after which every process has the mean of all gradients."""
        return students if self.count == 1 else DistributedDataParallel(students)

    def apart(self, seeds: tuple[int, ...]) -> tuple[int, ...]:
        """Seeds in [0, 2**63) of this process, from those of all: layers that draw must not draw the same."""
        return tuple((seed + self.index) % 2**63 for seed in seeds)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace floating-point tensors by their means over all processes; others stay."""
        if self.count == 1 or not (floating := [tensor for tensor in tensors if tensor.is_floating_point()]):
            return
        with torch.no_grad():
            flat = torch.cat([tensor.flatten() for tensor in floating])
            distributed.all_reduce(flat)
            parts = (flat / self.count).split([tensor.numel() for tensor in floating])
            for tensor, mean in zip(floating, parts, strict=True):
                tensor.copy_(mean.view_as(tensor))

    def equalize(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def gather(self, do: Callable[[], T]) -> list[T]:
        """Results of `do()` in every process, in their order.

        Raises:
            InputError: if it was refused in any of them: in the first process with the words of the refusal, in the
                others as `RefusedElsewhereError`.
        """
        if self.count == 1:
            return [do()]
        outcomes: list[Any] = [None] * self.count
        distributed.all_gather_object(outcomes, _attempt(do))
        return [self._result(*outcome) for outcome in outcomes]

    def agree(self, do: Callable[[], T]) -> T:
        """Result of `do()` in this process, if it was refused in none; otherwise as `gather`."""
        mine: list[T] = []
        self.gather(lambda: mine.append(do()))
        return mine[0]

    def first(self, do: Callable[[], T]) -> T:
        """Result of `do()`, which the first process alone calls, in every process; a refusal is one in all of them."""
        if self.count == 1:
            return do()
        outcome: list[Any] = [_attempt(do) if self.is_first else None]
        distributed.broadcast_object_list(outcome, 0)
        result: T = self._result(*outcome[0])
        return result

    def in_turn(self, do: Callable[[], T]) -> T:
        """Result of `do()` in this process, which the first one calls before all others: they find what it keeps."""
        if self.is_first:
            result = self.agree(do)
            self.agree(_nothing)
            return result
        self.agree(_nothing)
        return self.agree(do)

    def _result(self, result: Any, error: InputError | None) -> Any:
        if error is not None:
            raise error if self.is_first else RefusedElsewhereError(str(error))
        return result


ALONE = Ranks()
"""One process on the device that the recipe names."""


def _nothing() -> None:
    """What a process does while it is another's turn."""


def _attempt(do: Callable[[], T]) -> tuple[T | None, InputError | None]:
    try:
        return do(), None
    except InputError as error:
        return None, error
