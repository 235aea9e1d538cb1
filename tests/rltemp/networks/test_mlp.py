import math

import pytest
import torch
from torch import nn

from rltemp.errors import InputError
from rltemp.networks import MLP


def test_equals_the_same_layers_of_torch() -> None:
    net = MLP((64, 16, 8, 10), torch.Generator().manual_seed(1))
    reference = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 10))
    reference.load_state_dict(dict(zip(reference.state_dict(), net.state_dict().values(), strict=True)))
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(net(x), reference(x))
    torch.testing.assert_close(net.features(x), reference[:-1](x))


def test_initial_parameters_are_uniform_in_the_default_range() -> None:
    net = MLP((64, 400, 10), torch.Generator().manual_seed(3))
    bound = 1 / math.sqrt(64)
    weight, bias, *_ = net.parameters()
    for parameter in (weight, bias):
        assert bound * 0.97 < parameter.abs().max() <= bound
    # The variance of a uniform variable on +-b is b^2 / 3.
    assert weight.var().item() == pytest.approx(bound**2 / 3, rel=0.03)


def test_parameters_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first, second = (MLP((6, 5, 3), torch.Generator().manual_seed(4)) for _ in range(2))
    third = MLP((6, 5, 3), torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b, c in zip(first.parameters(), second.parameters(), third.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_without_hidden_layers_the_features_are_the_input() -> None:
    net = MLP((4, 3), torch.Generator())
    x = torch.ones(2, 1, 2, 2)
    assert torch.equal(net.features(x), torch.ones(2, 4))


@pytest.mark.parametrize("sizes", [(4,), (4, 0, 3), ()])
def test_impossible_sizes_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="sizes"):
        MLP(sizes)
