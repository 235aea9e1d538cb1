"""Networks of one's own: registered, or of a module that a recipe names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.networks import MLP, ExternalNetwork, check_request, list_networks, make_network, register_network, registry
from rltemp.networks.own import code_of, own_network
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task, teachers
from rltemp.tasks.build import check_recipe

SHAPE = (1, 8, 8)
SOURCE = """
from torch import nn


class Small(nn.Module):
    "A small perceptron."

    def __init__(self, classes, in_shape, hidden=6):
        super().__init__()
        self.first = nn.Linear(in_shape[0] * in_shape[1] * in_shape[2], hidden)
        self.last = nn.Linear(hidden, classes)

    def forward(self, images):
        return self.last(self.first(images.flatten(1)).relu())
"""


class Pixels(nn.Module):
    """Linear in the pixels."""

    def __init__(self, classes: int, in_shape: tuple[int, ...], *, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.out = nn.Linear(in_shape[0] * in_shape[1] * in_shape[2], classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.out(self.gain * images.flatten(1))
        return logits


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is registered in a test is forgotten after it."""
    names: dict[str, Any] = {}
    monkeypatch.setattr(registry, "_REGISTERED", names)
    return names


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one's own on the Python path."""
    path = tmp_path / "my_small_networks.py"
    path.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n{SOURCE}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return path


def _make(name: str, seed: int = 0, **options: Any) -> Any:
    return make_network(name, 3, SHAPE, torch.Generator().manual_seed(seed), **options)


def _recipe(name: str, **options: Any) -> Recipe:
    network = {"name": name, "options": options}
    teacher = {"network": network, "members": 1, "epochs": 1, "train": 64}
    return load_recipe("digits-short", {"student": network, "data.train": 64, "teacher": teacher})


def test_a_module_becomes_a_network_with_its_own_logits() -> None:
    register_network("pixels", Pixels)
    assert list_networks()["pixels"] == "Linear in the pixels."
    network = _make("pixels", gain=2.0)
    images = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))
    expected = (
        2.0 * images.flatten(1).double() @ network.classifier.weight.double().T + network.classifier.bias.double()
    )
    torch.testing.assert_close(network(images).double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(network.features(images), 2.0 * images.flatten(1))
    assert not network.stacks


def test_the_generator_decides_the_parameters_and_nothing_global_changes() -> None:
    register_network("pixels", Pixels)
    state = torch.get_rng_state()
    first, again, other = _make("pixels"), _make("pixels"), _make("pixels", 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_a_network_of_the_packages_kind_stays_what_it_is() -> None:
    register_network("own-mlp", lambda classes, in_shape: MLP([64, 5, classes]))
    network = _make("own-mlp")
    assert type(network) is MLP
    assert network.stacks


@pytest.mark.parametrize("name", ["mlp", "resnet20", "a:b", ""])
def test_names_of_the_package_are_not_replaced(name: str) -> None:
    with pytest.raises(InputError, match=r"^name must be none of mlp, cnn, .* and without a colon, got"):
        register_network(name, Pixels)


def test_mistakes_of_a_builder_are_one_line() -> None:
    with pytest.raises(InputError, match=r"^builder must be called with classes and a shape, got 3$"):
        register_network("three", 3)  # type: ignore[arg-type]
    register_network("pixels", Pixels)
    with pytest.raises(InputError, match=r"^options must be ones that the network takes, got {'width': 3}: .*'width'"):
        _make("pixels", width=3)
    with pytest.raises(InputError, match=r"student\.options: options must be ones that the network takes"):
        check_request("student", "pixels", {"width": 3})

    def fails(classes: int, in_shape: tuple[int, ...]) -> nn.Module:
        raise RuntimeError("first\nsecond")

    builders: list[tuple[Any, str]] = [
        (fails, r"^builder must build for 3 classes and instances \(1, 8, 8\), got RuntimeError: first$"),
        (lambda classes, in_shape: 7, r"^builder must give a torch\.nn\.Module, got int$"),
        (lambda classes, in_shape: nn.Conv2d(1, 3, 8), r"^network must end in an nn\.Linear with 3 outputs"),
    ]
    for builder, message in builders:
        with pytest.raises(InputError, match=message):
            own_network(builder, 3, SHAPE)


def test_a_module_is_imported_by_leave_alone(module: Path) -> None:
    recipe = _recipe("my_small_networks:Small", hidden=4)
    message = r"^student\.name 'my_small_networks:Small' would run code: give --allow-code to allow it"
    for refused in (check_recipe, build_task):
        with pytest.raises(InputError, match=message):
            refused(recipe, allow_download=True)
    with pytest.raises(InputError, match="would run code"):
        _make("my_small_networks:Small")
    assert not (module.parent / "ran").exists()
    task = build_task(recipe, allow_code=True)
    assert (module.parent / "ran").exists()
    assert sum(value.numel() for value in task.make_student(torch.Generator()).parameters()) == 65 * 4 + 5 * 10


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module:Mine", "No module named 'no_such_module'"),
        ("pathlib:Mine", "module 'pathlib' has no attribute 'Mine'"),
        (":Mine", ""),
        ("pathlib:", ""),
        ("math:pi", "which cannot be called"),
    ],
)
def test_a_module_without_a_network_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^student\.name must be MODULE:NAME of a network.*{reason}") as refusal:
        check_request("student", name, {}, allow_code=True)
    assert "\n" not in str(refusal.value)


def test_a_teacher_that_other_code_trained_is_not_taken(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, cache = _recipe("my_small_networks:Small"), tmp_path / "cache"
    first = build_task(recipe, cache=cache, allow_code=True).teacher
    train, trained = teachers._train, []
    monkeypatch.setattr(teachers, "_train", lambda *arguments: trained.append(1) or train(*arguments))  # type: ignore[func-returns-value]
    again = build_task(recipe, cache=cache, allow_code=True).teacher
    assert not trained
    for ours, theirs in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    module.write_text(module.read_text().replace("relu()", "tanh()"))
    monkeypatch.delitem(sys.modules, module.stem)
    importlib.invalidate_caches()
    build_task(recipe, cache=cache, allow_code=True)
    assert trained == [1]


def test_networks_of_libraries_have_no_code_of_ones_own() -> None:
    assert code_of(_make("mlp")) == []
    assert code_of(ExternalNetwork(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), 3)) == []
    assert len(code_of(Pixels(3, SHAPE))) == 1
