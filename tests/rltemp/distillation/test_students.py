"""K students side by side are K students, stacked or one after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.distillation import LoopStudents, StackedStudents, Students
from rltemp.networks import Execution, Network, make_network
from rltemp.seeding import make_generator

SHAPE, CLASSES, COUNT = (1, 8, 8), 4, 3
KINDS = [StackedStudents, LoopStudents]
OPTIONS: dict[str, dict[str, Any]] = {"mlp": {"hidden": [6, 5]}, "cnn": {"channels": [4, 6]}}


def _members(name: str) -> list[Network]:
    members = [
        make_network(name, CLASSES, SHAPE, make_generator(seed, "student"), **OPTIONS[name]).double()
        for seed in range(COUNT)
    ]
    for seed, member in enumerate(members):
        # Statistics other than 0 and 1, so that evaluation mode can be told from training mode.
        for buffer in member.buffers():
            if buffer.is_floating_point():
                buffer += torch.rand(buffer.shape, generator=make_generator(seed), dtype=buffer.dtype)
    return members


def _images(*batch: int, seed: int = 0) -> Tensor:
    return torch.randn(*batch, *SHAPE, generator=make_generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_student_answers_as_if_alone(kind: Callable[[Sequence[Network]], Students], name: str) -> None:
    alone, students = _members(name), kind(_members(name))
    images = _images(COUNT, 5)
    output = students(images)
    for k, member in enumerate(alone):
        torch.testing.assert_close(output.features[k], member.features(images[k]))
    for k, member in enumerate(_members(name)):
        torch.testing.assert_close(output.logits[k], member(images[k]))
        # Statistics of batch normalization moved as they would have alone.
        torch.testing.assert_close(students.extract(k).state_dict(), alone[k].state_dict())


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_changes_nothing(kind: Callable[[Sequence[Network]], Students], name: str) -> None:
    alone, students = _members(name), kind(_members(name))
    before = {key: value.clone() for key, value in students.state_dict().items()}
    images = _images(7)
    students.train()
    evaluated, predicted = students.evaluate(images), students.predict(images)
    assert students.training
    assert evaluated.logits.requires_grad
    assert not predicted.logits.requires_grad
    for k, member in enumerate(alone):
        torch.testing.assert_close(predicted.logits[k], member.eval()(images).detach())
        torch.testing.assert_close(evaluated.logits[k], member(images))
    for key, value in students.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_crosses_between_students(kind: Callable[[Sequence[Network]], Students], name: str) -> None:
    students = kind(_members(name))
    images, targets = _images(COUNT, 5), torch.arange(5) % CLASSES
    F.cross_entropy(students(images).logits[1], targets).backward()
    member = _members(name)[1]
    F.cross_entropy(member(images[1]), targets).backward()
    expected = dict(member.named_parameters())
    for k in range(COUNT):
        gradients = _gradients(students, k)
        assert gradients.keys() == expected.keys()
        for key, gradient in gradients.items():
            want = expected[key].grad if k == 1 else torch.zeros_like(expected[key])
            torch.testing.assert_close(gradient, want)


def _gradients(students: Students, k: int) -> dict[str, Tensor]:
    """Gradients of student k by the names of a network's parameters."""
    found = {}
    for name, parameter in students.named_parameters():
        if isinstance(students, StackedStudents):
            assert parameter.grad is not None
            found[name.removeprefix("stacked.").replace("/", ".").removeprefix("network.")] = parameter.grad[k]
        elif name.startswith(f"members.{k}."):
            zeros = torch.zeros_like(parameter)
            found[name.removeprefix(f"members.{k}.network.")] = zeros if parameter.grad is None else parameter.grad
    return found


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("kind", KINDS)
def test_tangents_are_finite_differences(kind: Callable[[Sequence[Network]], Students], name: str) -> None:
    students = kind(_members(name)).train()
    images, step = _images(COUNT, 5), 1e-6
    direction = [torch.randn(p.shape, generator=make_generator(7), dtype=p.dtype) for p in students.parameters()]
    before = {key: value.clone() for key, value in students.state_dict().items()}
    tangents = students.tangents(images, direction)
    assert students.training
    assert not tangents.requires_grad
    for key, value in students.state_dict().items():
        assert torch.equal(value, before[key]), key

    def logits_at(shift: float) -> Tensor:
        with torch.no_grad():
            for parameter, part in zip(students.parameters(), direction, strict=True):
                parameter.add_(part, alpha=shift)
        logits = torch.stack([students.extract(k).eval()(images[k]) for k in range(COUNT)])
        with torch.no_grad():
            for parameter, part in zip(students.parameters(), direction, strict=True):
                parameter.sub_(part, alpha=shift)
        return logits.detach()

    differences = (logits_at(step) - logits_at(-step)) / (2 * step)
    torch.testing.assert_close(tangents, differences, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_an_extracted_student_is_a_copy(kind: Callable[[Sequence[Network]], Students]) -> None:
    students = kind(_members("cnn"))
    before = students.predict(_images(4)).logits
    taken = students.extract(2)
    torch.testing.assert_close(taken.eval()(_images(4)), before[2])
    with torch.no_grad():
        for parameter in taken.parameters():
            parameter.zero_()
    assert torch.equal(students.predict(_images(4)).logits, before)


def test_the_members_are_not_touched() -> None:
    members = _members("mlp")
    students = StackedStudents(members)
    with torch.no_grad():
        for parameter in students.parameters():
            parameter.zero_()
    for member, fresh in zip(members, _members("mlp"), strict=True):
        for value, want in zip(member.parameters(), fresh.parameters(), strict=True):
            assert torch.equal(value, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stacked_networks_with_batch_normalization_are_those_in_a_loop_in_any_layout(dtype: torch.dtype) -> None:
    """As on a GPU: channels last, half precision, running statistics."""
    execution = Execution(dtype, channels_last=True)

    def make(kind: Callable[..., Students]) -> Students:
        return kind([make_network("resnet8", CLASSES, (3, 8, 8), make_generator(k)) for k in range(COUNT)], execution)

    images = torch.randn(COUNT, 6, 3, 8, 8, generator=make_generator(9))
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.1, "atol": 0.1}
    loop, stacked = make(LoopStudents).train(), make(StackedStudents).train()
    torch.testing.assert_close(stacked(images).logits, loop(images).logits, **close)
    for k in range(COUNT):
        torch.testing.assert_close(stacked.extract(k).state_dict(), loop.extract(k).state_dict(), **close)
