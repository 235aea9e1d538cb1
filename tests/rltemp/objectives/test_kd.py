import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rltemp.errors import InputError
from rltemp.objectives import kd_loss
from rltemp.objectives.divergence import softened_kl
from rltemp.policies import make_policy
from rltemp.temperatures import Temperatures


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def at(*temperatures: float) -> Temperatures:
    return Temperatures.shared(torch.tensor(temperatures, dtype=torch.float64))


def kl_inputs() -> list[Tensor]:
    """Logits of student and teacher, [3, 5], their temperatures, and scales, [3]."""
    return [draw(3, 5), draw(3, 5, seed=1), *(draw(3, seed=k).abs() + 0.5 for k in range(3))]


def test_two_classes_have_a_closed_form() -> None:
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    p = 1 / (1 + math.exp(-1.0))  # softened by T = 2
    expected = 4 * (p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p)))
    loss = kd_loss(student, teacher, Temperatures.shared(torch.tensor([2.0])))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_each_instance_has_its_own_temperature() -> None:
    student, teacher = draw(3, 5), draw(3, 5, seed=1)
    together = kd_loss(student, teacher, at(1.0, 4.0, 16.0))
    for i, t in enumerate((1.0, 4.0, 16.0)):
        expected = (
            t
            * t
            * F.kl_div(
                F.log_softmax(student[i] / t, 0), F.log_softmax(teacher[i] / t, 0), reduction="sum", log_target=True
            )
        )
        assert together[i].item() == pytest.approx(expected.item(), rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0.1, 100.0), st.integers(0, 1000))
def test_a_constant_added_to_all_logits_changes_nothing(by_s: float, by_t: float, t: float, seed: int) -> None:
    student, teacher = draw(2, 7, seed=seed), draw(2, 7, seed=seed + 1)
    plain, shifted = kd_loss(student, teacher, at(t, t)), kd_loss(student + by_s, teacher + by_t, at(t, t))
    torch.testing.assert_close(shifted, plain, rtol=1e-8, atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.1, 100.0), st.integers(2, 50), st.integers(0, 1000))
def test_the_loss_is_zero_for_equal_logits_and_positive_otherwise(t: float, classes: int, seed: int) -> None:
    logits = draw(2, classes, seed=seed)
    assert kd_loss(logits, logits, at(t, t)).abs().max().item() == 0.0
    assert bool((kd_loss(logits, draw(2, classes, seed=seed + 1), at(t, t)) > 0).all())


def test_both_derivatives_in_all_five_inputs_equal_numeric_ones() -> None:
    inputs = [x.requires_grad_() for x in kl_inputs()]
    assert torch.autograd.gradcheck(softened_kl, inputs)
    assert torch.autograd.gradgradcheck(softened_kl, inputs)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (3,), (4,), (0, 2), (1, 3), (2, 3, 4), (0, 1, 2, 3, 4)])
def test_any_subset_of_gradients_may_be_wanted(wanted: tuple[int, ...]) -> None:
    inputs = kl_inputs()
    for i in wanted:
        inputs[i].requires_grad_()
    assert torch.autograd.gradcheck(softened_kl, inputs)


def test_a_frozen_teacher_gets_no_gradient_and_a_free_one_gets_it() -> None:
    student, teacher = draw(2, 5).requires_grad_(), draw(2, 5, seed=1).requires_grad_()
    kd_loss(student, teacher, at(2.0, 3.0)).sum().backward()
    assert teacher.grad is not None
    assert teacher.grad.norm() > 0


def test_transforms_give_what_backward_gives() -> None:
    students, teacher, t = draw(4, 3, 6), draw(3, 6, seed=1), draw(3, seed=2).abs() + 1

    def loss(student: Tensor, teacher: Tensor, t: Tensor) -> Tensor:
        return kd_loss(student, teacher, Temperatures.shared(t)).sum()

    by_student, by_t = torch.vmap(torch.func.grad(loss, argnums=(0, 2)), in_dims=(0, None, None))(students, teacher, t)
    for k in range(4):
        student, temperature = students[k].clone().requires_grad_(), t.clone().requires_grad_()
        expected = torch.autograd.grad(loss(student, teacher, temperature), [student, temperature])
        torch.testing.assert_close(by_student[k], expected[0])
        torch.testing.assert_close(by_t[k], expected[1])


@pytest.mark.parametrize("rule", ["static", "dtkd", "normkd"])
def test_it_compiles_without_a_graph_break(rule: str) -> None:
    policy, student, teacher = make_policy(rule), draw(3, 6).requires_grad_(), draw(3, 6, seed=1)

    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return kd_loss(student, teacher, policy(student, teacher)).sum()

    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        (actual,) = torch.autograd.grad(compiled(student, teacher), student)
    (expected,) = torch.autograd.grad(loss(student, teacher), student)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    student, teacher = draw(2, 8).to(dtype), draw(2, 8, seed=1).to(dtype)
    temperatures = Temperatures.shared(torch.tensor([0.01, 0.5]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = kd_loss(student, teacher, temperatures)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, kd_loss(student.float(), teacher.float(), temperatures), rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["static", "ctkd", "ctkd-instance", "dtkd", "normkd", "lskd", "wttm"])
def test_autocast_changes_no_temperature(rule: str) -> None:
    student, teacher = draw(4, 8, dtype=torch.float32), draw(4, 8, seed=1, dtype=torch.float32)
    policy = make_policy(rule)
    expected = policy(student, teacher, progress=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = policy(student, teacher, progress=0.5)
    assert actual.teacher.dtype == torch.float32
    torch.testing.assert_close(actual.teacher, expected.teacher, rtol=0, atol=0)
    torch.testing.assert_close(actual.scale, expected.scale, rtol=0, atol=0)


def test_float64_stays_float64_with_temperatures_in_float32() -> None:
    loss = kd_loss(draw(2, 4), draw(2, 4, seed=1), Temperatures.shared(torch.tensor([2.0, 4.0])))
    assert loss.dtype == torch.float64


def test_wrong_input_is_refused() -> None:
    student, teacher = draw(2, 4), draw(2, 4, seed=1)
    with pytest.raises(InputError, match="temperatures must be Temperatures"):
        kd_loss(student, teacher, 4.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="temperatures must be of 2 instances, as the logits are, got 3"):
        kd_loss(student, teacher, at(1.0, 2.0, 3.0))
    with pytest.raises(InputError, match="same number of classes"):
        kd_loss(student, teacher[:, :3], at(1.0, 2.0))


@pytest.mark.parametrize("which", ["student_logits", "teacher_logits"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_logit_is_named(which: str, bad: float) -> None:
    logits = {"student_logits": draw(3, 4), "teacher_logits": draw(3, 4, seed=1)}
    logits[which][1, 2] = bad
    with pytest.raises(InputError, match=f"{which} must be finite, got 1"):
        kd_loss(**logits, temperatures=at(1.0, 1.0, 1.0))
