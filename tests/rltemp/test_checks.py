import math

import pytest
import torch
from torch import Tensor

from rltemp.checks import (
    check_finite,
    check_logits,
    check_number,
    check_positive,
    check_targets,
    check_vector,
    values_are_readable,
)
from rltemp.errors import InputError


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_value_among_many_is_found_and_counted(bad: float) -> None:
    values = torch.zeros(40, 50)
    values[17, 3] = bad
    with pytest.raises(InputError, match=r"student_logits must be finite, got 1 NaN or infinite values of 2000"):
        check_finite("student_logits", values)


def test_a_sum_that_overflows_is_not_mistaken_for_a_bad_value() -> None:
    check_finite("student_logits", torch.full((4, 4), 3e38))
    check_finite("student_logits", torch.full((4, 4), 6e4, dtype=torch.float16))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_out_of_range_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="t must be > 0 and finite"):
        check_positive("t", torch.tensor([1.0, bad]))


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(3), torch.zeros(3), r"student_logits must have shape \[B, C\] with B >= 1 and C >= 2, got \[3\]"),
        (torch.zeros(3, 1), torch.zeros(3, 1), r"C >= 2, got \[3, 1\]"),
        (torch.zeros(0, 4), torch.zeros(0, 4), r"B >= 1 and C >= 2, got \[0, 4\]"),
        (torch.zeros(3, 4), torch.zeros(3, 5), "same number of classes, got 4 and 5"),
        (torch.zeros(3, 4), torch.zeros(2, 4), "same number of instances, got 3 and 2"),
        (
            torch.zeros(3, 4),
            torch.zeros(3, 4, dtype=torch.int64),
            "teacher_logits must be floating point, got torch.int64",
        ),
        (torch.zeros(3, 4, device="meta"), torch.zeros(3, 4), "on one device, got meta and cpu"),
        ([[1.0, 2.0]], torch.zeros(1, 2), r"student_logits must be a tensor of shape \[B, C\], got list"),
        (torch.zeros(3, 4), torch.full((3, 4), math.nan), "teacher_logits must be finite, got 12"),
    ],
)
def test_wrong_logits_are_refused_by_name(student: Tensor, teacher: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_logits(student, teacher)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0, 1]), r"shape \[3\].*got \[2\]"),
        (torch.tensor([0.0, 1.0, 2.0]), "integer class indices, got torch.float32"),
        (torch.tensor([0, 1, 4]), r"lie in \[0, 4\), got values from 0 to 4"),
        (torch.tensor([-1, 1, 2]), r"lie in \[0, 4\), got values from -1 to 2"),
        ([0, 1, 2], "got list"),
    ],
)
def test_wrong_targets_are_refused(targets: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_targets(targets, batch=3, classes=4)


def test_vectors_must_be_floating_point_and_one_dimensional() -> None:
    with pytest.raises(InputError, match=r"t must have shape \[3\], one value per instance, got \[3, 1\]"):
        check_vector("t", torch.ones(3, 1), 3)
    with pytest.raises(InputError, match="t must be floating point"):
        check_vector("t", torch.ones(3, dtype=torch.int64))
    with pytest.raises(InputError, match="got float"):
        check_vector("t", 4.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, "4", None, True])
def test_options_must_be_numbers_in_range(bad: object) -> None:
    with pytest.raises(InputError, match="temperature must be"):
        check_number("temperature", bad, low=0.0, low_open=True)


def test_an_option_in_range_comes_back_as_a_float() -> None:
    assert check_number("ramp", 1, low=0.0, high=1.0) == 1.0
    assert isinstance(check_number("ramp", 1, low=0.0, high=1.0), float)


def test_values_are_not_read_where_they_cannot_be() -> None:
    seen: list[bool] = []

    def look(x: Tensor) -> Tensor:
        seen.append(values_are_readable(x))
        check_finite("x", x)
        check_positive("x", x)
        return x.sum()

    torch.vmap(look)(torch.full((2, 3), math.nan))
    torch.func.grad(look)(torch.full((3,), math.nan))
    assert seen == [False, False]
    assert not values_are_readable(torch.zeros(2, device="meta"))
    assert values_are_readable(torch.zeros(2))
