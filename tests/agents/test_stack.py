"""A stack of layers is the function that its modules are."""

import pytest
import torch
from torch import Tensor, nn

from rltemp.agents.stack import Affine, Stack, read_stack
from rltemp.errors import InputError


def act(stack: Stack, centered: Tensor) -> Tensor:
    for number, (weight, bias) in enumerate(stack.layers):
        if number:
            centered = {"tanh": torch.tanh, "relu": torch.relu}[stack.activation](centered)
        centered = torch.einsum("oi,ni->no", weight, centered) + bias
    return centered.tanh() if stack.squash else centered


@pytest.mark.parametrize(
    ("modules", "hidden", "activation", "squash"),
    [
        ([nn.Linear(3, 1)], (), "tanh", False),
        ([nn.Linear(3, 1), nn.Tanh()], (), "tanh", True),
        ([nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1, bias=False)], (5,), "relu", False),
        ([nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1), nn.Tanh()], (5, 4), "relu", True),
        ([nn.Flatten(), nn.Linear(3, 3), nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)], (5,), "tanh", False),
        ([nn.Tanh(), nn.Linear(3, 1)], (3,), "tanh", False),
        (
            [nn.Sequential(nn.Linear(3, 5), nn.Sequential()), nn.Tanh(), nn.Linear(5, 1), nn.Identity()],
            (5,),
            "tanh",
            False,
        ),
    ],
    ids=["linear", "squashed", "relu", "relu-squashed", "folded", "activation-first", "nested"],
)
def test_it_is_what_its_modules_compute(
    modules: list[nn.Module], hidden: tuple[int, ...], activation: str, squash: bool
) -> None:
    stack = read_stack(modules, 3)
    assert (stack.features, stack.hidden, stack.activation, stack.squash) == (3, hidden, activation, squash)
    features = torch.rand(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        expected = nn.Sequential(*modules).double()(features)
    torch.testing.assert_close(act(stack, 4.0 * (features - 0.5)), expected)


def test_maps_before_and_behind_become_part_of_the_layers() -> None:
    layer = nn.Linear(2, 1)
    before = Affine.diagonal(torch.tensor([2.0, 3.0]), torch.tensor([1.0, -1.0]))
    after = Affine.diagonal(torch.tensor([5.0]), torch.tensor([0.5]))
    stack = read_stack([before, layer, after], 2)
    assert len(stack.layers) == 1
    (u, v), bias = layer.weight[0].tolist(), layer.bias.item()
    for x, y in ((0.0, 0.0), (1.0, 0.25)):
        expected = 5.0 * (u * (2 * x + 1) + v * (3 * y - 1) + bias) + 0.5
        centered = torch.tensor([[4 * (x - 0.5), 4 * (y - 0.5)]], dtype=torch.float64)
        assert act(stack, centered).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nn.Linear(3, 1), nn.ELU()], "got ELU"),
        ([nn.Linear(3, 1), nn.ReLU()], "got ReLU behind the last"),
        ([nn.Linear(3, 4), nn.Tanh(), nn.ReLU(), nn.Linear(4, 1)], "got ReLU"),
        ([nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)], "one kind of them, got both"),
        ([nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1)], "got LayerNorm"),
        ([nn.Flatten(0), nn.Linear(3, 1)], "got Flatten"),
        ([nn.Linear(3, 4), nn.Tanh(), nn.Linear(5, 1)], "got one that takes 5 numbers where there are 4"),
        ([nn.Linear(3, 2)], "model must give one action for each instance, got 2"),
        ([nn.Linear(3, 3), nn.Tanh()] * 9 + [nn.Linear(3, 1)], "at most 8 hidden layers of at most 4096"),
        ([nn.Linear(3, 5000), nn.Tanh(), nn.Linear(5000, 1)], r"at most 8 hidden layers of at most 4096, got \[5000\]"),
    ],
)
def test_what_is_no_such_stack_is_refused(modules: list[nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        read_stack(modules, 3)
    assert "\n" not in str(refusal.value)
