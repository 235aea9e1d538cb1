"""Divergences with a temperature per instance: number by number, their limits, symmetries and bounds."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rltemp import DistillationLoss, InputError, Temperatures, kd_loss, make_policy
from rltemp.objectives import AdaptiveKD, EntropySplitKD, JensenShannonKD, Objective, ReverseKD, SkewedKD

Row = list[float]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_temperatures(batch: int, seed: int) -> Temperatures:
    teacher, student, scale = (0.2 + draw(batch, seed=seed + i).abs() for i in range(3))
    return Temperatures(teacher, student, scale)


def softmax(logits: Row, t: float) -> Row:
    powers = [math.exp((z - max(logits)) / t) for z in logits]
    return [power / sum(powers) for power in powers]


def kl(a: Row, b: Row) -> float:
    return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True) if x > 0)


def mix(a: Row, b: Row, share: float) -> Row:
    return [share * x + (1 - share) * y for x, y in zip(a, b, strict=True)]


def jensen_shannon(p: Row, q: Row) -> float:
    return 0.3 * kl(p, mix(p, q, 0.3)) + 0.7 * kl(q, mix(p, q, 0.3))


def adaptive(p: Row, q: Row) -> float:
    head = tail = mass = 0.0
    for place, i in enumerate(sorted(range(len(p)), key=lambda i: -p[i])):
        mass += p[i]
        gap = abs(p[i] - q[i])
        if place == 0 or mass <= 0.5:
            head += gap
        else:
            tail += gap
    return (head * kl(p, q) + tail * kl(q, p)) / (head + tail)


def split(p: Row, q: Row) -> float:
    entropy = -sum(x * math.log(x) for x in p if x > 0)
    return kl(q, p) + (kl(p, q) if entropy > 0.7 else 0.0)


LOOPS: dict[str, tuple[Objective, Callable[[Row, Row], float]]] = {
    "reverse": (ReverseKD(), lambda p, q: kl(q, p)),
    "jensen-shannon": (JensenShannonKD(0.3), jensen_shannon),
    "skewed": (SkewedKD(0.1), lambda p, q: kl(p, mix(p, q, 0.1))),
    "skewed, reverse": (SkewedKD(0.1, reverse=True), lambda p, q: kl(q, mix(q, p, 0.1))),
    "adaptive": (AdaptiveKD(), adaptive),
    "split": (EntropySplitKD(0.7), split),
}
OBJECTIVES = {name: objective for name, (objective, _) in LOOPS.items()}


@pytest.mark.parametrize("name", LOOPS)
@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(2, 8), st.integers(0, 1000))
def test_each_equals_a_loop_over_its_formula(name: str, batch: int, classes: int, seed: int) -> None:
    objective, formula = LOOPS[name]
    student, teacher = draw(batch, classes, seed=seed), draw(batch, classes, seed=seed + 9)
    at = some_temperatures(batch, seed)
    expected = [
        scale * formula(softmax(z_t, t_t), softmax(z_s, t_s))
        for z_s, z_t, t_s, t_t, scale in zip(
            student.tolist(), teacher.tolist(), at.student.tolist(), at.teacher.tolist(), at.scale.tolist(), strict=True
        )
    ]
    assert objective(student, teacher, None, at).tolist() == pytest.approx(expected, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", LOOPS)
def test_the_gradients_equal_numeric_ones(name: str) -> None:
    inputs = [x.requires_grad_() for x in (draw(3, 5), draw(3).abs() + 0.5, draw(3, seed=1).abs() + 0.5)]
    teacher, weights = draw(3, 5, seed=1), []

    def loss(student: Tensor, t_s: Tensor, t_t: Tensor) -> Tensor:
        return OBJECTIVES[name](student, teacher, None, Temperatures(t_t, t_s, t_t * t_t))

    if name != "adaptive":  # whose weights are constants to the gradient, and no constants to a difference
        assert torch.autograd.gradcheck(loss, inputs)
        return
    student, t_s, t_t = inputs
    log_p, log_q = (teacher / t_t[:, None]).log_softmax(1), (student / t_s[:, None]).log_softmax(1)
    forward = (log_p.exp() * (log_p - log_q)).sum(1)
    reverse = (log_q.exp() * (log_q - log_p)).sum(1)
    for p, q in zip(log_p.exp().tolist(), log_q.exp().tolist(), strict=True):
        weights.append((adaptive(p, q) - kl(q, p)) / (kl(p, q) - kl(q, p)))
    share = torch.tensor(weights, dtype=torch.float64)
    expected = torch.autograd.grad((t_t**2 * (share * forward + (1 - share) * reverse)).sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(loss(*inputs).sum(), inputs), expected)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.01, 0.99), st.integers(0, 1000))
def test_exchanging_the_networks_exchanges_the_share(beta: float, seed: int) -> None:
    student, teacher, at = draw(3, 6, seed=seed), draw(3, 6, seed=seed + 9), some_temperatures(3, seed)
    swapped = Temperatures(at.student, at.teacher, at.scale)
    one = JensenShannonKD(beta)(student, teacher, None, at)
    other = JensenShannonKD(1 - beta)(teacher, student, None, swapped)
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-12)
    reverse = SkewedKD(beta, reverse=True)(teacher, student, None, swapped)
    torch.testing.assert_close(SkewedKD(beta)(student, teacher, None, at), reverse, rtol=1e-9, atol=1e-12)
    forward = kd_loss(teacher, student, swapped)
    torch.testing.assert_close(ReverseKD()(student, teacher, None, at), forward, rtol=1e-9, atol=1e-12)


def test_the_ends_of_jensen_shannon_are_forward_and_reverse_kl() -> None:
    student, teacher = draw(4, 6), draw(4, 6, seed=1)
    at = Temperatures.shared(torch.tensor([2.0, 3.0, 4.0, 8.0], dtype=torch.float64))
    low, high = JensenShannonKD(1e-7)(student, teacher, None, at), JensenShannonKD(1 - 1e-7)(student, teacher, None, at)
    torch.testing.assert_close(low / 1e-7, kd_loss(student, teacher, at), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(high / 1e-7, ReverseKD()(student, teacher, None, at), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(SkewedKD(0.0)(student, teacher, None, at), kd_loss(student, teacher, at))
    reverse = SkewedKD(0.0, reverse=True)(student, teacher, None, at)
    torch.testing.assert_close(reverse, ReverseKD()(student, teacher, None, at))


@settings(deadline=None, max_examples=25)
@given(st.floats(0.01, 0.99), st.floats(0.0, 1e4), st.integers(0, 1000))
def test_mixtures_keep_the_loss_bounded(share: float, size: float, seed: int) -> None:
    student, teacher = size * draw(3, 6, seed=seed), size * draw(3, 6, seed=seed + 1)
    plain = Temperatures.shared(torch.ones(3, dtype=torch.float64))
    for reverse in (False, True):
        skewed = SkewedKD(share, reverse)(student, teacher, None, plain)
        assert -1e-9 <= skewed.min().item() <= skewed.max().item() <= -math.log(share) + 1e-9
    assert JensenShannonKD(share)(student, teacher, None, plain).max().item() <= math.log(2) + 1e-9


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_finite_and_zero_where_the_networks_agree(name: str, dtype: torch.dtype) -> None:
    at = Temperatures.shared(torch.tensor([0.05, 1.0, 30.0]))
    hot = torch.eye(3, 8).mul(1e4).to(dtype)
    for student, teacher in ((hot, -hot), (hot, hot), (torch.zeros_like(hot), hot)):
        leaf = student.clone().requires_grad_()
        losses = OBJECTIVES[name](leaf, teacher, None, at)
        assert losses.dtype == torch.float32
        losses.sum().backward()
        assert leaf.grad is not None
        assert bool(torch.isfinite(losses).all() and torch.isfinite(leaf.grad).all())
        if student is teacher:
            assert (losses / at.scale).abs().max().item() < 1e-6


@pytest.mark.parametrize("name", LOOPS)
def test_the_criterion_takes_each_for_tokens_with_padding(name: str) -> None:
    student, teacher, targets = draw(2, 4, 6), draw(2, 4, 6, seed=1), torch.full((2, 4), 3)
    targets[1, 2:] = -100
    criterion = DistillationLoss(make_policy("adakd"), OBJECTIVES[name], ce_weight=0.0, kd_weight=1.0)
    keep = (targets != -100).flatten()
    seen, taught = student.flatten(0, 1)[keep], teacher.flatten(0, 1)[keep]
    expected = OBJECTIVES[name](seen, taught, None, make_policy("adakd")(seen, taught)).mean()
    torch.testing.assert_close(criterion(student, teacher, targets), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: JensenShannonKD(0.0), "beta"),
        (lambda: JensenShannonKD(1.0), "ReverseKD"),
        (lambda: SkewedKD(1.0), "alpha"),
        (lambda: SkewedKD(0.1, reverse=1), "reverse"),  # type: ignore[arg-type]
        (lambda: AdaptiveKD(0.0), "mass"),
        (lambda: EntropySplitKD(-1.0), "threshold"),
    ],
)
def test_options_out_of_range_are_refused(make: object, word: str) -> None:
    with pytest.raises(InputError, match=word):
        make()  # type: ignore[operator]


def test_a_bad_logit_and_another_batch_are_named() -> None:
    student, teacher, at = draw(2, 4), draw(2, 4, seed=1), some_temperatures(2, 0)
    with pytest.raises(InputError, match="of 2 instances"):
        ReverseKD()(student, teacher, None, some_temperatures(3, 0))
    student[1, 1] = math.nan
    with pytest.raises(InputError, match="student_logits must be finite, got 1"):
        JensenShannonKD()(student, teacher, None, at)
