import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rltemp.errors import InputError
from rltemp.seeding import make_generator


def _numbers(seed: int, stream: str) -> list[float]:
    return torch.rand(4, generator=make_generator(seed, stream)).tolist()


@given(st.integers(0, 2**63), st.text(max_size=8))
def test_a_seed_and_a_stream_fix_the_numbers(seed: int, stream: str) -> None:
    assert _numbers(seed, stream) == _numbers(seed, stream)


def test_seeds_and_streams_differ_from_each_other() -> None:
    drawn = {tuple(_numbers(seed, stream)) for seed in range(50) for stream in ("", "order", "probe")}
    assert len(drawn) == 150


def test_neighboring_seeds_are_uncorrelated() -> None:
    numbers = torch.stack([torch.randn(2000, generator=make_generator(seed, "order")) for seed in range(20)])
    correlations = torch.corrcoef(numbers) - torch.eye(20)
    # 190 correlations of standard deviation 1 / sqrt(2000): five standard deviations are never reached by chance.
    assert correlations.abs().max() < 5 / 2000**0.5


def test_no_global_generator_moves() -> None:
    before = torch.get_rng_state()
    make_generator(3, "order")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="seed must be >= 0, got -1"):
        make_generator(-1)
