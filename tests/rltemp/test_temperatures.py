import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rltemp.errors import InputError
from rltemp.temperatures import Temperatures, action_to_temperature, temperature_to_action


def test_shared_squares_the_temperature() -> None:
    t = torch.tensor([0.5, 2.0, 32.0])
    temperatures = Temperatures.shared(t)
    assert temperatures.teacher is t
    assert temperatures.student is t
    assert temperatures.scale.tolist() == [0.25, 4.0, 1024.0]
    assert len(temperatures) == 3


def test_of_no_instance_at_all() -> None:
    assert len(Temperatures.shared(torch.ones(0))) == 0


def test_a_scale_for_all_replaces_the_square() -> None:
    temperatures = Temperatures.shared(torch.tensor([0.5, 2.0, 32.0], dtype=torch.float64), 16.0)
    assert temperatures.student.tolist() == [0.5, 2.0, 32.0]
    assert temperatures.scale.tolist() == [16.0, 16.0, 16.0]
    assert temperatures.scale.dtype == torch.float64
    with pytest.raises(InputError, match="scale must be > 0"):
        Temperatures.shared(torch.ones(2), -1.0)


def test_a_column_of_temperatures_is_refused() -> None:
    row, column = torch.ones(4), torch.ones(4, 1)
    with pytest.raises(InputError, match=r"got \[4, 1\]"):
        Temperatures.shared(column)
    with pytest.raises(InputError, match=r"student temperature must have shape \[4\].*got \[4, 1\]"):
        Temperatures(row, column, row)
    with pytest.raises(InputError, match=r"scale must have shape \[4\].*got \[4, 1\]"):
        Temperatures(row, row, column)


@pytest.mark.parametrize("field", ["teacher temperature", "student temperature", "scale"])
@pytest.mark.parametrize("bad", [0.0, -2.0, math.inf, math.nan])
def test_values_out_of_range_are_refused_by_name(field: str, bad: float) -> None:
    names = ["teacher temperature", "student temperature", "scale"]
    values = [torch.tensor([1.0, bad if name == field else 1.0]) for name in names]
    with pytest.raises(InputError, match=f"{field} must be > 0 and finite"):
        Temperatures(*values)


def test_one_device_for_all() -> None:
    with pytest.raises(InputError, match="scale must be on cpu, as the teacher's, got meta"):
        Temperatures(torch.ones(2), torch.ones(2), torch.ones(2, device="meta"))


def test_detach_and_to_keep_the_values() -> None:
    t = torch.tensor([1.5, 3.0], requires_grad=True)
    temperatures = Temperatures.shared(t)
    assert not temperatures.detach().scale.requires_grad
    assert temperatures.to(torch.float32) is temperatures
    wide = temperatures.to(torch.float64)
    assert wide.scale.dtype == torch.float64
    assert wide.scale.tolist() == [2.25, 9.0]


def test_a_label_weight_goes_along_and_is_checked_like_the_others() -> None:
    two = torch.tensor([1.5, 3.0])
    plain, weighed = Temperatures.shared(two), Temperatures(two, two, two, label_weight=torch.tensor([0.5, 4.0]))
    assert plain.label_weight is None
    assert plain.map(lambda values: 2.0 * values).label_weight is None
    wide = weighed.to(torch.float64)
    assert wide.label_weight is not None
    assert (wide.label_weight.dtype, wide.label_weight.tolist()) == (torch.float64, [0.5, 4.0])
    assert weighed.map(lambda values: values[1:]).tensors[3].tolist() == [4.0]
    for wrong in (torch.tensor([0.0, 1.0]), torch.tensor([1.0, math.inf]), torch.ones(2, 1), torch.ones(3)):
        with pytest.raises(InputError, match=r"^label weight must"):
            Temperatures(two, two, two, label_weight=wrong)


@given(st.floats(-1.0, 1.0), st.floats(0.01, 1.0), st.floats(1.5, 100.0))
def test_actions_map_to_a_log_scale_and_back(action: float, low: float, ratio: float) -> None:
    a = torch.tensor([action], dtype=torch.float64)
    t = action_to_temperature(a, low, low * ratio)
    expected = math.exp(math.log(low) + (action + 1.0) / 2.0 * math.log(ratio))
    assert t.item() == pytest.approx(expected, rel=1e-12)
    assert temperature_to_action(t, low, low * ratio).item() == pytest.approx(action, abs=1e-6)


def test_actions_outside_the_range_are_clipped() -> None:
    t = action_to_temperature(torch.tensor([-5.0, 5.0]), 0.5, 32.0)
    assert t.tolist() == [0.5, 32.0]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf)])
def test_a_wrong_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match="0 < low < high"):
        action_to_temperature(torch.zeros(1), low, high)
