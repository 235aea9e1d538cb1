"""The schedule in units of the teacher's spread: its formula, what it is blind to, and whose batch it sees."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rltemp
from rltemp.objectives import kd_loss
from rltemp.policies import make_policy


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("each", [False, True])
@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 6),
    st.integers(2, 7),
    st.floats(0.01, 10.0),
    st.floats(0.01, 10.0),
    st.floats(0.1, 50.0),
    st.floats(0.0, 1.0),
    st.integers(0, 1000),
)
def test_temperature_and_scale_are_in_units_of_the_teachers_deviation(
    each: bool, batch: int, classes: int, start: float, end: float, scale: float, progress: float, seed: int
) -> None:
    """By another road: the standard library's deviation, and the schedule as an exponential of logarithms."""
    teacher = draw(batch, classes, seed=seed)
    policy = make_policy("spread", start=start, end=end, scale=scale, each=each)
    temperatures = policy(draw(batch, classes, seed=seed + 1), teacher, None, progress)
    spreads = [statistics.stdev(row) for row in teacher.tolist()]
    spreads = spreads if each else [statistics.fmean(spreads)] * batch
    level = math.exp((1 - progress) * math.log(start) + progress * math.log(end))
    assert temperatures.teacher.tolist() == pytest.approx([s * level for s in spreads])
    assert torch.equal(temperatures.student, temperatures.teacher)
    assert temperatures.scale.tolist() == pytest.approx([s * scale for s in spreads])


def test_the_defaults_and_progress_per_instance() -> None:
    teacher = torch.tensor([[1.0, -1.0, 0.0], [3.0, -3.0, 0.0], [2.0, 0.0, -2.0]])  # deviations 1, 3, 2
    progress = torch.tensor([0.0, 0.5, 1.0])
    temperatures = make_policy("spread")(torch.zeros(3, 3), teacher, None, progress)
    assert temperatures.teacher.tolist() == pytest.approx([4.0, 4.0 * 0.1**0.5, 0.4])
    assert temperatures.scale.tolist() == pytest.approx([12.0] * 3)
    temperatures = make_policy("spread", each=True)(torch.zeros(3, 3), teacher, None, progress)
    assert temperatures.teacher.tolist() == pytest.approx([2.0, 6.0 * 0.1**0.5, 0.4])
    assert temperatures.scale.tolist() == pytest.approx([6.0, 18.0, 12.0])


@pytest.mark.parametrize("each", [False, True])
def test_logits_of_another_size_give_the_same_gradients(each: bool) -> None:
    """With T and scale in proportion to the logits' unit, d loss / d logits is the same in every unit."""
    policy, student, teacher = make_policy("spread", each=each), draw(5, 6), draw(5, 6, seed=1)
    gradients = []
    for unit in (1.0, 0.01, 40.0):
        leaf = (unit * student).requires_grad_()
        kd_loss(leaf, unit * teacher, policy(leaf, unit * teacher, None, 0.3)).mean().backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-10, atol=0)
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-10, atol=0)


def test_no_gradient_flows_through_the_spread() -> None:
    student, teacher = draw(4, 5).requires_grad_(), draw(4, 5, seed=1).requires_grad_()
    temperatures = make_policy("spread")(student, teacher, None, 0.3)
    assert not any(value.requires_grad for value in (temperatures.teacher, temperatures.student, temperatures.scale))


def test_an_instance_sees_its_batch_unless_each_has_its_own_spread() -> None:
    student, teacher = draw(5, 6), draw(5, 6, seed=1)
    for each in (False, True):
        policy = make_policy("spread", each=each)
        assert policy.over_batch is not each
        whole, alone = policy(student, teacher, None, 0.3), policy(student[2:3], teacher[2:3], None, 0.3)
        assert torch.allclose(alone.teacher, whole.teacher[2:3], rtol=1e-12) is each
    others = [name for name in rltemp.list_policies() if name not in ("adakd", "spread")]
    assert not any(make_policy(name).over_batch for name in others)


def test_dense_predictions_share_the_spread_of_all_their_tokens() -> None:
    student, teacher, targets = draw(2, 3, 5), draw(2, 3, 5, seed=1), torch.arange(6).view(2, 3) % 5
    parts = rltemp.DistillationLoss(make_policy("spread")).parts(student, teacher, targets, 0.5)
    flat = make_policy("spread")(student.view(6, 5), teacher.view(6, 5), None, 0.5)
    assert torch.equal(parts.temperatures.teacher, flat.teacher)
    assert parts.temperatures.teacher.unique().numel() == 1


def test_masked_instances_do_not_count_for_the_spread_of_the_others() -> None:
    student, teacher = draw(5, 6), draw(5, 6, seed=1)
    mask = torch.tensor([True, False, True, True, False])
    loud = torch.where(mask[:, None], teacher, 50 * teacher)
    alone = make_policy("spread")(student[mask], teacher[mask], None, 0.3)
    masked = make_policy("spread")(student, loud, None, 0.3, mask=mask)
    torch.testing.assert_close(masked.teacher[mask], alone.teacher, rtol=1e-12, atol=0)
    torch.testing.assert_close(masked.scale[mask], alone.scale, rtol=1e-12, atol=0)
    targets = torch.where(mask, 0, -100)
    criterion = rltemp.DistillationLoss(make_policy("spread"), ce_weight=0.0)
    assert torch.equal(criterion.parts(student, loud, targets, 0.3).temperatures.teacher, masked.teacher)
    nobody = make_policy("spread")(student, teacher, None, 0.0, mask=torch.zeros(5, dtype=torch.bool))
    assert nobody.teacher.tolist() == [2.0] * 5
    every = make_policy("spread", each=True)
    assert torch.equal(every(student, loud, None, 0.3, mask=mask).teacher, every(student, loud, None, 0.3).teacher)


def test_a_mask_of_another_kind_is_refused() -> None:
    for mask in (torch.ones(4, dtype=torch.bool), torch.ones(5), [True] * 5):
        with pytest.raises(rltemp.InputError, match=r"mask must be bool of shape \[5\]"):
            make_policy("static")(draw(5, 6), draw(5, 6), mask=mask)
