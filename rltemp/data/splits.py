"""Splitting of a data set into disjoint parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

from rltemp.errors import InputError

__all__ = ["split", "split_rows"]


class _Divisible(Protocol):
    def __len__(self) -> int: ...

    def subset(self: Part, indices: Tensor) -> Part: ...


Part = TypeVar("Part", bound=_Divisible)


def split(dataset: Part, sizes: Mapping[str, int | Literal["rest"]], generator: torch.Generator) -> dict[str, Part]:
    """Cut a data set into disjoint parts, drawn without replacement.

    Args:
        dataset: what to cut, in memory or on disk.
        sizes: number of instances by part, e.g. {"train": 600, "validation": 300, "test": "rest"}; at most one part
            takes the rest. Otherwise instances may be left over, which belong to no part.
        generator: draws one permutation.

    Raises:
        InputError: for a size < 1, two rests, or more instances than there are.
    """
    return {part: dataset.subset(rows) for part, rows in split_rows(len(dataset), sizes, generator).items()}


def split_rows(
    total: int, sizes: Mapping[str, int | Literal["rest"]], generator: torch.Generator, *, in_order: bool = False
) -> dict[str, Tensor]:
    """Cut the rows 0 to `total` - 1 into disjoint parts, drawn without replacement; what `split` cuts by.

    Args:
        total: number of rows.
        sizes: as `split` takes them.
        generator: draws one permutation.
        in_order: leave neighbours together, as in a text: the rows stay in their order, round a circle, and what is
            drawn is where it begins.

    Returns:
        The rows of each part, int64 [its size], in the order of the permutation.

    Raises:
        InputError: for a size < 1, two rests, or more rows than there are.
    """
    numbers = _resolve(sizes, total)
    if in_order:
        start = torch.randint(total, (), generator=generator, device=generator.device)
        order = (start + torch.arange(total, device=generator.device)) % total
    else:
        order = torch.randperm(total, generator=generator, device=generator.device)
    starts = [0, *torch.tensor(list(numbers.values())).cumsum(0).tolist()]
    return {part: order[start : start + number] for start, (part, number) in zip(starts, numbers.items(), strict=False)}


def _resolve(sizes: Mapping[str, int | Literal["rest"]], total: int) -> dict[str, int]:
    rests = [part for part, size in sizes.items() if size == "rest"]
    if len(rests) > 1:
        raise InputError(f"sizes must give the rest to one part at most, got {', '.join(rests)}")
    left = total - sum(size for size in sizes.values() if size != "rest")
    numbers = {part: left if size == "rest" else size for part, size in sizes.items()}
    if left < 0 or not numbers or min(numbers.values()) < 1:
        raise InputError(f"sizes must be >= 1 each and fit into {total} instances, got {dict(sizes)}")
    return numbers
