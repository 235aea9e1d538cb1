"""An action is a temperature, and a scale and a weight of the label where it has them, each on a log scale."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rltemp.actions import ActionMap
from rltemp.errors import InputError

UNIT = st.floats(-1.0, 1.0, width=32)


@given(UNIT, UNIT)
def test_both_numbers_lie_on_log_scales_of_their_own(first: float, second: float) -> None:
    chosen = ActionMap(0.25, 64.0, scale_range=(1.0, 256.0)).temperatures(torch.tensor([[first, second]]))
    assert float(chosen.teacher) == float(chosen.student) == pytest.approx(4.0 * 16.0**first, rel=1e-5)
    assert float(chosen.scale) == pytest.approx(16.0 * 16.0**second, rel=1e-5)


@given(UNIT, UNIT, UNIT)
def test_the_weight_of_the_label_comes_last(first: float, second: float, third: float) -> None:
    actions = ActionMap(0.25, 64.0, scale_range=(1.0, 256.0), label_range=(0.125, 8.0))
    assert actions.count == 3
    chosen = actions.temperatures(torch.tensor([[first, second, third]]))
    assert float(chosen.scale) == pytest.approx(16.0 * 16.0**second, rel=1e-5)
    assert float(chosen.tensors[3]) == pytest.approx(8.0**third, rel=1e-5)
    without = ActionMap(0.25, 64.0, label_range=(0.125, 8.0))
    assert without.count == 2
    chosen = without.temperatures(torch.tensor([[first, third]]))
    assert float(chosen.scale) == pytest.approx(16.0 * 256.0**first, rel=1e-4)
    assert float(chosen.tensors[3]) == pytest.approx(8.0**third, rel=1e-5)


@pytest.mark.parametrize(("scale", "expected"), [(None, 16.0), (9.0, 9.0)])
def test_one_number_leaves_the_scale_to_the_square_or_a_constant(scale: float | None, expected: float) -> None:
    actions = ActionMap(0.25, 64.0, scale)
    assert actions.count == 1
    chosen = actions.temperatures(torch.zeros(3, 1))
    torch.testing.assert_close(chosen.teacher, torch.full((3,), 4.0))
    torch.testing.assert_close(chosen.scale, torch.full((3,), expected))


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "T²"), ({"scale": 16.0}, "16"), ({"scale_range": (0.5, 2.0)}, "0.5 to 2")],
)
def test_the_scale_is_said_in_words(options: dict[str, Any], words: str) -> None:
    assert ActionMap(1.0, 2.0, **options).describe_scale() == words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 2.0}, "temperature range must satisfy 0.001 <= low < high <= 1e"),
        ({"scale": 0.0}, "scale must be None or lie in"),
        ({"scale_range": (2.0, 1.0)}, r"scale_range must be two numbers.*got 2, 1"),
        ({"scale_range": (1.0,)}, "scale_range must be two numbers.*got 1"),
        ({"scale_range": (1.0, 2.0, 3.0)}, "scale_range must be two numbers"),
        ({"label_range": (2.0, 1.0)}, r"label_range must be two numbers.*got 2, 1"),
        ({"scale": 4.0, "scale_range": (1.0, 2.0)}, "scale must be None beside a scale_range, got 4"),
    ],
)
def test_what_is_no_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ActionMap(**{"low": 1.0, "high": 2.0, **options})
