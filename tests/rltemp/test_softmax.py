import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rltemp.softmax import cross_entropies, log_softmax, softmax

LOGITS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20)


def _by_hand(row: list[float]) -> list[float]:
    top = max(row)
    total = math.fsum(math.exp(value - top) for value in row)
    return [value - top - math.log(total) for value in row]


@settings(deadline=None)
@given(LOGITS)
def test_short_and_long_rows_are_what_a_loop_in_float64_says(row: list[float]) -> None:
    logits = torch.tensor([row, row[::-1]])
    expected = torch.tensor([_by_hand(row), _by_hand(row[::-1])], dtype=torch.float64)
    torch.testing.assert_close(log_softmax(logits).double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(softmax(logits).double(), expected.exp(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(softmax(logits).sum(-1), torch.ones(2))
    losses = cross_entropies(logits, torch.tensor([0, 1])).double()
    torch.testing.assert_close(losses, -expected[:, :2].diagonal(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 10, 15, 16, 40])
def test_gradients_are_those_of_numerical_differences(classes: int) -> None:
    logits = torch.randn(3, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(softmax, logits)
    assert torch.autograd.gradcheck(log_softmax, logits)
    targets = torch.tensor([0, 1, classes - 1])
    assert torch.autograd.gradcheck(cross_entropies, (logits, targets))
    assert torch.autograd.gradgradcheck(cross_entropies, (logits, targets))


@pytest.mark.parametrize("classes", [10, 40])
def test_any_leading_shape_and_one_bad_row_stays_alone(classes: int) -> None:
    logits = torch.zeros(2, 3, 4, classes)
    logits[1, 2, 3, 0] = torch.nan
    for result, uniform in ((softmax(logits), 1 / classes), (log_softmax(logits), -math.log(classes))):
        assert result.shape == logits.shape
        assert bool(result[1, 2, 3].isnan().all())
        result[1, 2, 3] = uniform
        torch.testing.assert_close(result, torch.full_like(result, uniform))


@pytest.mark.parametrize("classes", [10, 40])
def test_cross_entropies_transform_and_keep_half_precision(classes: int) -> None:
    logits, targets = torch.randn(5, 3, classes, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
    stacked = torch.vmap(cross_entropies, in_dims=(0, None))(logits, targets)
    torch.testing.assert_close(stacked, torch.stack([cross_entropies(one, targets) for one in logits]))
    assert cross_entropies(logits[0].bfloat16(), targets).dtype == torch.bfloat16
