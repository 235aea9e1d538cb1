from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rltemp.data import Dataset, split
from rltemp.errors import InputError


def _numbered(total: int) -> Dataset:
    return Dataset(torch.arange(float(total)).view(total, 1), torch.arange(total) % 2, 2)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 20), st.integers(0, 2**31))
def test_parts_are_disjoint_and_complete(sizes: list[int], rest: int, seed: int) -> None:
    total = sum(sizes) + rest
    names: dict[str, int | Literal["rest"]] = {f"part{i}": size for i, size in enumerate(sizes)}
    parts = split(_numbered(total), {**names, "test": "rest"}, torch.Generator().manual_seed(seed))
    assert [len(part) for part in parts.values()] == [*sizes, rest]
    seen = torch.cat([part.images.flatten() for part in parts.values()])
    assert sorted(seen.tolist()) == list(range(total))
    for part in parts.values():
        assert torch.equal(part.targets, part.images.flatten().long() % 2)


def test_the_rest_may_stand_anywhere_and_need_not_be_taken() -> None:
    data = _numbered(10)
    parts = split(data, {"test": "rest", "train": 7}, torch.Generator())
    assert (len(parts["test"]), len(parts["train"])) == (3, 7)
    parts = split(data, {"train": 4, "validation": 2}, torch.Generator())
    assert not set(parts["train"].images.flatten().tolist()) & set(parts["validation"].images.flatten().tolist())


def test_the_generator_decides() -> None:
    data = _numbered(50)
    first, again, other = (split(data, {"a": 20}, torch.Generator().manual_seed(s))["a"].images for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "sizes", [{"a": 11}, {"a": 5, "b": 6}, {"a": 0}, {"a": -1, "b": "rest"}, {"a": 10, "b": "rest"}, {}]
)
def test_impossible_sizes_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="fit into 10 instances"):
        split(_numbered(10), sizes, torch.Generator())


def test_two_rests_are_refused() -> None:
    with pytest.raises(InputError, match="one part at most, got a, b"):
        split(_numbered(10), {"a": "rest", "b": "rest"}, torch.Generator())
