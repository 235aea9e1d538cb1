"""A stream of its own neither hears nor disturbs the global generators."""

import random
from typing import Any

import numpy as np
import pytest
import torch

from rltemp.agents.randomness import RandomStream


def draw() -> list[float]:
    legacy = np.random.normal()  # noqa: NPY002
    return [random.random(), float(legacy), float(torch.rand(()))]


def drawn_from(stream: RandomStream) -> list[float]:
    with stream.active():
        return draw()


@pytest.fixture(autouse=True)
def _unchanged_by_these_tests() -> Any:
    with RandomStream(0).active():
        yield


def test_draws_depend_on_the_seed_alone() -> None:
    first = drawn_from(RandomStream(1))
    draw()
    assert drawn_from(RandomStream(1)) == first
    assert not set(drawn_from(RandomStream(2))) & set(first)


def test_the_stream_goes_on_where_it_stopped() -> None:
    whole, parts = RandomStream(1), RandomStream(1)
    with whole.active():
        expected = draw() + draw()
    got = drawn_from(parts)
    draw()
    assert got + drawn_from(parts) == expected


def interrupted() -> None:
    with RandomStream(1).active():
        draw()
        raise KeyboardInterrupt


def test_what_is_drawn_inside_is_not_noticed_outside() -> None:
    states = random.getstate(), torch.get_rng_state()
    expected = draw()
    random.setstate(states[0])
    torch.set_rng_state(states[1])
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    python, _, torch_ = draw()
    assert [python, torch_] == [expected[0], expected[2]]


def test_numpys_generator_is_put_back() -> None:
    before = np.random.get_state()  # noqa: NPY002
    drawn_from(RandomStream(1))
    after = np.random.get_state()  # noqa: NPY002
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stream_continues_from_its_state() -> None:
    stream, resumed = RandomStream(1), RandomStream(2)
    drawn_from(stream)
    resumed.load_state_dict(stream.state_dict())
    assert [drawn_from(resumed), drawn_from(resumed)] == [drawn_from(stream), drawn_from(stream)]
