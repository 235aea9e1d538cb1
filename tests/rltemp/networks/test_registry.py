from typing import Any

import pytest
import torch

from rltemp.errors import InputError
from rltemp.networks import MLP, list_networks, make_network


def test_mlp_takes_its_widths_from_the_image_and_the_options() -> None:
    net = make_network("mlp", 10, (1, 8, 8), torch.Generator().manual_seed(0), hidden=(16,))
    assert isinstance(net, MLP)
    assert net.sizes == (64, 16, 10)


def test_every_name_has_a_line() -> None:
    assert "mlp" in list_networks()
    assert all(line and "\n" not in line for line in list_networks().values())


@pytest.mark.parametrize(
    ("name", "classes", "shape", "options", "message"),
    [
        ("nonesuch", 10, (3, 32, 32), {}, "name must be one of .*mlp.*nonesuch"),
        ("mlp", 1, (1, 8, 8), {}, "classes must be >= 2, got 1"),
        ("mlp", 10, (), {}, "in_shape"),
        ("mlp", 10, (1, 8, 8), {"widths": (3,)}, "options of 'mlp'.*widths"),
        ("mlp", 10, (1, 8, 8), {"hidden": (0,)}, "sizes"),
    ],
)
def test_impossible_networks_are_refused(
    name: str, classes: int, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_network(name, classes, shape, torch.Generator(), **options)
