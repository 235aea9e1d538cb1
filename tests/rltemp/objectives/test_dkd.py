import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rltemp.errors import InputError
from rltemp.objectives import DKD, KD, dkd_loss, kd_loss
from rltemp.temperatures import Temperatures


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(*temperatures: float) -> Temperatures:
    return Temperatures.shared(torch.tensor(temperatures, dtype=torch.float64))


def test_two_classes_leave_the_target_term_alone() -> None:
    student, teacher, targets = draw(3, 2), draw(3, 2, seed=1), torch.tensor([0, 1, 0])
    expected = kd_loss(student, teacher, at(2.0, 2.0, 2.0))
    for beta in (0.0, 8.0):
        torch.testing.assert_close(dkd_loss(student, teacher, targets, at(2.0, 2.0, 2.0), 1.0, beta), expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.floats(0.5, 20.0), st.integers(0, 1000))
def test_plain_distillation_weighs_the_other_classes_by_their_probability(classes: int, t: float, seed: int) -> None:
    # KD = TCKD + (1 - p_target) NCKD, which is what DKD decouples.
    student, teacher = draw(2, classes, seed=seed), draw(2, classes, seed=seed + 1)
    targets = torch.tensor([0, classes - 1])
    tckd = dkd_loss(student, teacher, targets, at(t, t), 1.0, 0.0)
    nckd = dkd_loss(student, teacher, targets, at(t, t), 0.0, 1.0)
    others = 1.0 - torch.softmax(teacher / t, 1)[torch.arange(2), targets]
    torch.testing.assert_close(tckd + others * nckd, kd_loss(student, teacher, at(t, t)), rtol=1e-9, atol=1e-10)


def test_one_hot_teachers_have_a_finite_gradient_by_temperature() -> None:
    # Where the textbook form, with probabilities as the target of `kl_div`, has 0 / 0.
    student, t = draw(2, 5).requires_grad_(), torch.tensor([4.0, 4.0], dtype=torch.float64, requires_grad=True)
    teacher = 1e4 * torch.eye(5, dtype=torch.float64)[:2]
    dkd_loss(student, teacher, torch.tensor([0, 3]), Temperatures.shared(t)).sum().backward()
    for gradient in (student.grad, t.grad):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())


def test_small_probabilities_keep_their_logarithm() -> None:
    # Probabilities below the smallest float32: log q is -200, not -inf or a clamp.
    teacher, student = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[0.0, -200.0, -200.0]])
    loss = dkd_loss(student, teacher, torch.tensor([0]), Temperatures.shared(torch.ones(1)), 1.0, 0.0)
    p, not_p, log_not_q = 1 / 3, 2 / 3, -200 + math.log(2)
    assert loss.item() == pytest.approx(p * math.log(p) + not_p * (math.log(not_p) - log_not_q), rel=1e-6)


def test_the_derivative_equals_the_numeric_one() -> None:
    targets = torch.tensor([1, 3, 0])

    def loss(student: Tensor, teacher: Tensor, t: Tensor) -> Tensor:
        return dkd_loss(student, teacher, targets, Temperatures.shared(t))

    inputs = [draw(3, 4).requires_grad_(), draw(3, 4, seed=1).requires_grad_(), (draw(3).abs() + 1).requires_grad_()]
    assert torch.autograd.gradcheck(loss, inputs)


def test_objectives_call_the_losses() -> None:
    student, teacher, targets, temperatures = draw(2, 5), draw(2, 5, seed=1), torch.tensor([1, 2]), at(2.0, 4.0)
    assert torch.equal(KD()(student, teacher, None, temperatures), kd_loss(student, teacher, temperatures))
    expected = dkd_loss(student, teacher, targets, temperatures, 0.5, 2.0)
    assert torch.equal(DKD(0.5, 2.0)(student, teacher, targets, temperatures), expected)


def test_wrong_input_is_refused() -> None:
    student, teacher, temperatures = draw(2, 5), draw(2, 5, seed=1), at(2.0, 4.0)
    with pytest.raises(InputError, match=r"targets must lie in \[0, 5\), got values from 0 to 5"):
        dkd_loss(student, teacher, torch.tensor([0, 5]), temperatures)
    with pytest.raises(InputError, match="beta must be finite and >= 0, got -1"):
        DKD(beta=-1.0)
    with pytest.raises(InputError, match="targets must be given"):
        DKD()(student, teacher, None, temperatures)
