"""Networks for signals and texts, alone and side by side."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rltemp.distillation import LoopStudents, StackedStudents
from rltemp.errors import InputError
from rltemp.networks import Network, make_network

SHAPES = {"cnn1d": (2, 30), "text-bag": (12,), "text-cnn": (12,)}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _network(name: str, seed: int = 0, **options: Any) -> Network:
    return make_network(name, 5, SHAPES[name], _generator(seed), **options)


def _instances(name: str, *batch: int) -> Tensor:
    if name == "cnn1d":
        return torch.randn(*batch, *SHAPES[name], generator=_generator(1))
    return torch.randint(0, 8192, (*batch, *SHAPES[name]), generator=_generator(1))


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("cnn1d", {"channels": [4, 6]}, (2 * 5 + 1) * 4 + (4 * 5 + 1) * 6 + (6 + 1) * 5),
        ("text-bag", {"width": 3, "buckets": 50}, 50 * 3 + (3 + 1) * 5),
        (
            "text-cnn",
            {"width": 3, "channels": 4, "buckets": 50},
            50 * 3 + 4 * ((3 * 3 + 1) + (4 * 3 + 1) + (5 * 3 + 1)) + (12 + 1) * 5,
        ),
    ],
)
def test_parameters_follow_from_the_layout(name: str, options: dict[str, Any], parameters: int) -> None:
    network = _network(name, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    features = network.features(_instances(name, 7))
    assert features.shape == (7, network.classifier.in_features)
    torch.testing.assert_close(network(_instances(name, 7)), network.classifier(features))


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in SHAPES), ("text-bag", {"buckets": 50})])
def test_stacked_students_are_looped_ones(name: str, options: dict[str, Any]) -> None:
    """Logits, gradients and forward-mode derivatives."""
    members = [_network(name, seed, **options) for seed in range(3)]
    assert members[0].stacks
    stacked, looped = StackedStudents(copy.deepcopy(members)).double(), LoopStudents(members).double()
    instances = _instances(name, 3, 4)
    instances = instances.double() if instances.is_floating_point() else instances
    outputs = [students(instances).logits for students in (stacked, looped)]
    torch.testing.assert_close(*outputs)
    for output in outputs:
        output.square().sum().backward()
    gradients = {key.replace("/", "."): value.grad for key, value in stacked.stacked.items()}
    for index, member in enumerate(looped.members):
        for key, parameter in member.named_parameters():
            gradient = gradients[key]
            assert gradient is not None
            torch.testing.assert_close(gradient[index], parameter.grad)
    names = [key.replace("/", ".") for key in stacked.stacked]
    velocities = [
        torch.randn(value.shape, generator=_generator(2), dtype=torch.float64) for value in stacked.parameters()
    ]
    direction = dict(zip(names, velocities, strict=True))
    alone = [direction[key][index] for index in range(3) for key, _ in looped.members[index].named_parameters()]
    tangents = stacked.tangents(instances, velocities)
    torch.testing.assert_close(tangents, looped.tangents(instances, alone))
    assert tangents.abs().max() > 0


def test_cnn1d_against_the_same_layers_written_out() -> None:
    network = _network("cnn1d", channels=[4, 8])
    layers: list[nn.Module] = []
    for inputs, width in ((2, 4), (4, 8)):
        layers += [nn.Conv1d(inputs, width, 5, 1, 2), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True)]
    reference = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 5))
    reference.load_state_dict(dict(zip(reference.state_dict(), network.state_dict().values(), strict=True)))
    signals = _instances("cnn1d", 3)
    torch.testing.assert_close(network(signals), reference(signals))


@pytest.mark.parametrize("buckets", [10, 5000])
def test_a_bag_is_the_mean_over_words_and_padding_counts_for_nothing(buckets: int) -> None:
    network = _network("text-bag", width=3, buckets=buckets)
    table = network.state_dict()["embedding.weight"]
    # One row less for words: the last two share the row of 1.
    ids = torch.tensor([[2, 5, 5, 0, 0], [1, buckets, 2 * buckets - 1, 0, 0], [0, 0, 0, 0, 0]])
    expected = torch.stack([(table[2] + 2 * table[5]) / 3, table[1], torch.zeros(3)])
    torch.testing.assert_close(network.features(ids), expected)
    network.features(ids).sum().backward()
    (gradient,) = (value.grad for name, value in network.named_parameters() if name == "embedding.weight")
    assert gradient is not None
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [1, 2, 5]


def test_a_text_cnn_looks_at_runs_of_words_wherever_they_are() -> None:
    network = _network("text-cnn", buckets=100)
    run = [7, 3, 9, 4, 8]
    early, late = torch.tensor([[0] * 4 + run + [0] * 11]), torch.tensor([[0] * 9 + run + [0] * 6])
    torch.testing.assert_close(network(early), network(late))
    assert not torch.allclose(network(early), network(early.flip(1)))


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("cnn1d", (1, 8, 8), {}, r"in_shape must be \(channels, length\) of a signal"),
        ("cnn1d", (1, 40), {"channels": []}, "channels must be at least one width"),
        ("text-bag", (1, 40), {}, r"in_shape must be \(length,\) of a text"),
        ("text-bag", (40,), {"width": 0}, r"width must lie in \[1, 16384\], got 0"),
        ("text-bag", (40,), {"buckets": 1}, r"buckets must lie in \[2, 1048576\], got 1"),
        ("text-cnn", (40,), {"channels": "many"}, r"channels must lie in \[1, 16384\], got 'many'"),
    ],
)
def test_impossible_networks_are_refused(
    name: str, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_network(name, 5, shape, _generator(0), **options)
