"""Distillation of sigmoid logits, against loops in float64 and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp import Temperatures, kd_loss, make_policy
from rltemp.detection import as_two_classes, binary_kd_loss
from rltemp.errors import InputError


def draw(*shape: int, seed: int, size: float = 3.0) -> Tensor:
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def between(low: float, high: float, count: int, seed: int) -> Tensor:
    drawn = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * drawn


def by_hand(student: float, teacher: float, t_student: float, t_teacher: float, scale: float) -> float:
    p, q = 1 / (1 + math.exp(-teacher / t_teacher)), 1 / (1 + math.exp(-student / t_student))
    return scale * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))


@pytest.mark.parametrize("per_class", [False, True])
def test_each_anchor_or_each_of_its_classes_has_its_own_temperatures(per_class: bool) -> None:
    anchors, classes = 5, 3
    student, teacher = draw(anchors, classes, seed=0), draw(anchors, classes, seed=1)
    count = anchors * classes if per_class else anchors
    at = Temperatures(between(0.5, 4, count, 2), between(0.5, 4, count, 3), between(0.5, 9, count, 4))
    losses = binary_kd_loss(student, teacher, at)
    assert losses.shape == (anchors, classes)
    for i in range(anchors):
        for c in range(classes):
            k = i * classes + c if per_class else i
            t_teacher, t_student, scale = at.teacher[k].item(), at.student[k].item(), at.scale[k].item()
            expected = by_hand(student[i, c].item(), teacher[i, c].item(), t_student, t_teacher, scale)
            assert losses[i, c].item() == pytest.approx(expected, rel=1e-10)


def test_closed_forms() -> None:
    at = Temperatures.shared(torch.tensor([2.0], dtype=torch.float64))
    zero = torch.zeros(1, 1, dtype=torch.float64)
    # A student that says 1/2 where the teacher's odds are e^(z / T): T^2 (log 2 - H(p)).
    for z in (-3.0, 0.5, 4.0):
        p = 1 / (1 + math.exp(-z / 2))
        entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
        expected = 4 * (math.log(2) - entropy)
        assert binary_kd_loss(zero, zero + z, at).item() == pytest.approx(expected, rel=1e-12)
        assert binary_kd_loss(zero + z, zero + z, at).item() == 0.0


def test_at_one_it_is_the_cross_entropy_less_the_teachers_own() -> None:
    student, teacher = draw(4, 6, seed=0), draw(4, 6, seed=1)
    p = torch.sigmoid(teacher)
    cross = F.binary_cross_entropy_with_logits(student, p, reduction="none")
    own = F.binary_cross_entropy(p, p, reduction="none")
    one = Temperatures.shared(torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(binary_kd_loss(student, teacher, one), cross - own)


def test_the_gradient_is_the_difference_of_the_probabilities() -> None:
    student, teacher = draw(4, 2, seed=0).requires_grad_(), draw(4, 2, seed=1)
    t = between(0.5, 8, 8, 2)
    binary_kd_loss(student, teacher, Temperatures.shared(t)).sum().backward()
    t = t.view(4, 2)
    torch.testing.assert_close(student.grad, t * (torch.sigmoid(student / t) - torch.sigmoid(teacher / t)).detach())


def test_it_is_kd_among_two_classes_in_the_order_of_the_instances() -> None:
    student, teacher = draw(4, 3, seed=0), draw(4, 3, seed=1)
    pairs = as_two_classes(student), as_two_classes(teacher)
    assert pairs[0].softmax(1)[:, 1].tolist() == pytest.approx(torch.sigmoid(student).flatten().tolist())
    at = make_policy("ctkd-instance")(*pairs).detach()
    torch.testing.assert_close(binary_kd_loss(student, teacher, at).flatten(), kd_loss(*pairs, at))


def test_saturated_logits_keep_their_digits() -> None:
    # p and q are 1 in float32; the exact loss is e^-u (v - u + e^(u - v) - 1), to first order in e^-u.
    u, v = 40.0, 42.0
    one = Temperatures.shared(torch.ones(1))
    for sign in (1, -1):
        student = torch.tensor([[sign * v]], requires_grad=True)
        loss = binary_kd_loss(student, torch.tensor([[sign * u]]), one)
        loss.sum().backward()
        assert loss.item() == pytest.approx(math.exp(-u) * (v - u + math.exp(u - v) - 1), rel=1e-4)
        assert student.grad is not None
        assert student.grad.item() == pytest.approx(sign * (math.exp(-u) - math.exp(-v)), rel=1e-4)


def test_half_precision_is_widened() -> None:
    student, teacher = draw(3, 2, seed=0).half(), draw(3, 2, seed=1).half()
    at = Temperatures.shared(torch.full((3,), 0.01))
    assert binary_kd_loss(student, teacher, at).dtype == torch.float32
    assert binary_kd_loss(student, teacher, at).isfinite().all()


def test_input_that_does_not_fit_is_refused() -> None:
    logits, at = torch.zeros(4, 3), Temperatures.shared(torch.ones(4))
    with pytest.raises(InputError, match=r"must have one shape \[N, C\], got \[4, 3\] and \[4, 2\]$"):
        binary_kd_loss(logits, torch.zeros(4, 2), at)
    with pytest.raises(InputError, match=r"^temperatures must be Temperatures of 4 anchors or of 12 .*, got 5$"):
        binary_kd_loss(logits, logits, Temperatures.shared(torch.ones(5)))
    with pytest.raises(InputError, match=r"^temperatures must be Temperatures of 4 anchors or of 12 .*, got float$"):
        binary_kd_loss(logits, logits, 4.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^teacher_logits must be finite, got 12 NaN"):
        binary_kd_loss(logits, logits * math.nan, at)
    with pytest.raises(
        InputError, match=r"^logits must be floating point of shape \[N, C\], .*, got torch.float32 \[4\]$"
    ):
        as_two_classes(torch.zeros(4))
    with pytest.raises(InputError, match=r"^student_logits must be floating point .*, got torch.int64 \[4, 3\]$"):
        binary_kd_loss(logits.long(), logits, at)
    with pytest.raises(InputError, match=r"^student_logits must be floating point .*, got torch.float32 \[0, 3\]$"):
        binary_kd_loss(logits[:0], logits[:0], at)
