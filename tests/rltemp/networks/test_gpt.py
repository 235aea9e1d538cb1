"""A causal transformer: no position sees what comes after it, and students run side by side as they would alone."""

import pytest
import torch

from rltemp import InputError
from rltemp.distillation import LoopStudents, StackedStudents
from rltemp.networks import Network, make_network
from rltemp.seeding import make_generator


def gpt(seed: int) -> Network:
    return make_network("gpt", 9, (6,), make_generator(seed), width=8, layers=2, heads=2)


def test_no_position_sees_what_comes_after_it() -> None:
    model, tokens = gpt(0), torch.arange(12).view(2, 6) % 9
    changed = tokens.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 9
    before, after = model(tokens), model(changed)
    assert before.shape == (2, 6, 9)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4], after[:, 4])


def test_students_side_by_side_are_those_alone_with_a_row_per_token() -> None:
    tokens = torch.randint(9, (3, 4, 6), generator=make_generator(0))
    members = [gpt(seed) for seed in range(3)]
    alone = torch.stack([member(part).flatten(0, 1) for member, part in zip(members, tokens, strict=True)])
    for kind in (StackedStudents, LoopStudents):
        students = kind(members)
        output = students(tokens)
        torch.testing.assert_close(output.logits, alone)
        assert output.features.shape == (3, 24, 8)
        shared = students.predict(tokens[0]).logits
        torch.testing.assert_close(shared[1], members[1](tokens[0]).flatten(0, 1).detach())


def test_rates_of_change_are_those_of_finite_differences() -> None:
    students = StackedStudents([gpt(0).double(), gpt(1).double()])
    tokens = torch.randint(9, (2, 3, 6), generator=make_generator(0))
    direction = [torch.randn(part.shape, generator=make_generator(2)).double() for part in students.parameters()]
    rates = students.tangents(tokens, direction)
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            for part, along in zip(students.parameters(), direction, strict=True):
                part.add_(step * along)
        ends.append(students.evaluate_each(tokens).logits.detach())
    torch.testing.assert_close(rates, (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-6)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="width must be a multiple of heads = 4, got 6"):
        make_network("gpt", 9, (6,), make_generator(0), width=6)
    with pytest.raises(InputError, match="layers must lie in"):
        make_network("gpt", 9, (6,), make_generator(0), layers=0)
    with pytest.raises(InputError, match="in_shape must be"):
        make_network("gpt", 9, (1, 8, 8), make_generator(0))
