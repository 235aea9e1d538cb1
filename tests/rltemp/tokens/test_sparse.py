"""Losses of a teacher's top k: what they are, and between which bounds the loss against the whole teacher lies."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rltemp import DKD, DistillationLoss, InputError, Temperatures, kd_loss, make_policy
from rltemp.objectives import JensenShannonKD, ReverseKD
from rltemp.tokens import TopK, coarse_logits, sparse_distillation_loss, sparse_kd_bounds, sparse_kd_loss


def draw(*shape: int, seed: int = 0, size: float = 3.0) -> Tensor:
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_temperatures(tokens: int, seed: int = 0) -> Temperatures:
    return Temperatures(*(0.2 + draw(tokens, seed=seed + i).abs() for i in range(3)))


def plain(tokens: int) -> Temperatures:
    return Temperatures.shared(torch.ones(tokens, dtype=torch.float64))


def softmax(values: list[float], t: float) -> list[float]:
    powers = [math.exp((z - max(values)) / t) for z in values]
    return [power / sum(powers) for power in powers]


def divergence(p: list[float], q: list[float]) -> float:
    return sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x > 0)


@pytest.mark.parametrize("rest", [True, False])
@settings(deadline=None, max_examples=25)
@given(st.integers(3, 12), st.integers(2, 12), st.integers(0, 1000))
def test_it_is_the_divergence_of_the_known_classes_and_the_rest(rest: bool, vocabulary: int, k: int, seed: int) -> None:
    student, logits, at = draw(3, vocabulary, seed=seed), draw(3, vocabulary, seed=seed + 1), some_temperatures(3, seed)
    k = min(k, vocabulary)
    losses = sparse_kd_loss(student, TopK.of(logits, k), at, rest=rest)
    for i in range(3):
        p, q = softmax(logits[i].tolist(), 1.0), softmax(student[i].tolist(), 1.0)
        head = sorted(range(vocabulary), key=lambda c: -p[c])[:k]
        known = [[math.log(x[c]) for c in head] for x in (p, q)]
        if rest and k < vocabulary:
            for values, x in zip(known, (p, q), strict=True):
                values.append(math.log(sum(x[c] for c in range(vocabulary) if c not in head)))
        t_t, t_s, scale = (value[i].item() for value in (at.teacher, at.student, at.scale))
        expected = scale * divergence(softmax(known[0], t_t), softmax(known[1], t_s))
        assert losses[i].item() == pytest.approx(expected, rel=1e-7, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 40), st.integers(1, 40), st.floats(0.1, 8.0), st.booleans(), st.integers(0, 1000))
def test_the_loss_of_all_classes_lies_between_the_bounds(
    vocabulary: int, k: int, size: float, single: bool, seed: int
) -> None:
    student, logits = draw(6, vocabulary, seed=seed), draw(6, vocabulary, seed=seed + 1, size=size)
    teacher, at = TopK.of(logits.float() if single else logits, min(k, vocabulary)), some_temperatures(6, seed)
    low, high = sparse_kd_bounds(student, teacher, at)
    whole = kd_loss(student, logits.float().double() if single else logits, at)
    error = (1e-4 if single else 1e-9) * (1 + whole + at.scale)
    assert bool((low <= whole + error).all())
    assert bool((whole <= high + error).all())
    assert bool((low >= -error).all())


def test_the_bounds_are_reached_by_the_rests_that_they_are_made_of() -> None:
    """Where the student agrees on an even rest, only its mass counts: the lower bound; at T = 1 the mass is known."""
    teacher = TopK(torch.log(torch.tensor([[0.5, 0.2]], dtype=torch.float64)), torch.tensor([[0, 1]]), 5)
    student = torch.log(torch.tensor([[0.4, 0.3, 0.1, 0.1, 0.1]], dtype=torch.float64))
    low, high = sparse_kd_bounds(student, teacher, plain(1))
    expected = divergence([0.5, 0.2, 0.3], [0.4, 0.3, 0.3])
    assert low.item() == pytest.approx(expected, abs=1e-6)
    assert kd_loss(student, teacher.completed(torch.float64), plain(1)).item() == pytest.approx(expected)
    assert high.item() == pytest.approx(expected + 0.3 * math.log(3), abs=1e-6)
    # At T = 2 the rest of 0.3 weighs 3 sqrt(0.1) where it is even, and sqrt(0.2) + sqrt(0.1) where two classes hold it.
    hot = Temperatures.shared(torch.full((1,), 2.0, dtype=torch.float64))
    low, high = sparse_kd_bounds(student, teacher, hot)
    even, packed = teacher.completed(torch.float64), torch.log(torch.tensor([[0.5, 0.2, 0.2, 0.1, 1e-30]]).double())
    for whole in (even, packed):
        assert low.item() - 1e-6 <= kd_loss(student, whole, hot).item() <= high.item() + 1e-6


def test_at_temperature_one_the_rest_as_a_class_loses_what_is_within_the_rest() -> None:
    student, logits = draw(5, 30), draw(5, 30, seed=1)
    teacher = TopK.of(logits, 4)
    p, q = (x.softmax(1).scatter(1, teacher.indices, 0.0) for x in (logits, student))
    within = (p * ((p / p.sum(1, keepdim=True)) / (q / q.sum(1, keepdim=True))).log().nan_to_num(0.0)).sum(1)
    expected = kd_loss(student, logits, plain(5)) - within
    torch.testing.assert_close(sparse_kd_loss(student, teacher, plain(5)), expected)


def test_among_the_known_classes_every_temperature_is_exact() -> None:
    """Without the rest: the softened whole teacher, conditioned on its top k."""
    student, logits, at = draw(5, 30), draw(5, 30, seed=1), some_temperatures(5)
    teacher = TopK.of(logits, 4)
    p = (logits / at.teacher[:, None]).softmax(1).gather(1, teacher.indices)
    q = (student / at.student[:, None]).softmax(1).gather(1, teacher.indices)
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    torch.testing.assert_close(sparse_kd_loss(student, teacher, at, rest=False), at.scale * (p * (p / q).log()).sum(1))


def test_with_all_classes_known_it_is_the_plain_loss() -> None:
    student, logits, at = draw(5, 9), draw(5, 9, seed=1), some_temperatures(5)
    teacher = TopK.of(logits, 9)
    for rest in (True, False):
        torch.testing.assert_close(sparse_kd_loss(student, teacher, at, rest=rest), kd_loss(student, logits, at))
    for bound in sparse_kd_bounds(student, teacher, at):
        torch.testing.assert_close(bound, kd_loss(student, logits, at))


@pytest.mark.parametrize("objective", [None, ReverseKD(), JensenShannonKD(0.3)])
def test_gradients_equal_numeric_ones(objective: Any) -> None:
    teacher, student = TopK.of(draw(3, 8, seed=1), 3), draw(3, 8).requires_grad_()
    t = (draw(3, seed=3).abs() + 0.5).requires_grad_()

    def loss(student: Tensor, t: Tensor) -> Tensor:
        return sparse_kd_loss(student, teacher, Temperatures.shared(t), objective=objective)

    assert torch.autograd.gradcheck(loss, [student, t])


def test_a_confident_teacher_has_a_finite_loss_and_gradient() -> None:
    student = torch.zeros(2, 1000, requires_grad=True)
    teacher = TopK.of(torch.eye(2, 1000) * 200.0, 5)
    loss = sparse_kd_loss(student, teacher, Temperatures.shared(torch.tensor([0.1, 8.0])))
    loss.sum().backward()
    assert student.grad is not None
    assert bool(torch.isfinite(loss).all() and torch.isfinite(student.grad).all())


@pytest.mark.parametrize("name", ["static", "ctkd", "dtkd", "adakd"])
@pytest.mark.parametrize("rest", [True, False])
def test_the_criterion_of_hidden_states_says_what_its_parts_say(name: str, rest: bool) -> None:
    hidden, weight = draw(2, 6, 4, size=1.0).requires_grad_(), draw(11, 4, seed=1, size=1.0).requires_grad_()
    teacher, targets = TopK.of(draw(12, 11, seed=2), 4), torch.arange(12).view(2, 6) % 11
    targets[1, 4:] = -100
    criterion = DistillationLoss(make_policy(name).double(), ReverseKD(), 0.3, 0.7)
    loss = sparse_distillation_loss(criterion, hidden, weight, teacher, targets, 0.4, rest=rest, chunk=5)

    student, keep = F.linear(hidden, weight).flatten(0, 1), (targets != -100).flatten()
    at = criterion.policy(student, teacher.completed(torch.float64), None, 0.4, mask=keep)
    kd = sparse_kd_loss(student, teacher, at, rest=rest, objective=ReverseKD())[keep].mean()
    expected = 0.3 * F.cross_entropy(student, targets.flatten()) + 0.7 * kd
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    wanted = [hidden, weight, *criterion.parameters()]
    torch.testing.assert_close(torch.autograd.grad(loss, wanted), torch.autograd.grad(expected, wanted))


def test_no_token_gives_no_loss_or_an_exact_zero() -> None:
    nobody = TopK.of(draw(4, 9), 3)[:0]
    assert sparse_kd_loss(draw(0, 9), nobody, Temperatures.shared(torch.ones(0))).shape == (0,)
    weight, criterion = draw(9, 4).requires_grad_(), DistillationLoss(make_policy("adakd"))
    for tokens in (0, 3):
        teacher = TopK.of(draw(4, 9), 3)[:tokens]
        loss = sparse_distillation_loss(criterion, draw(tokens, 4), weight, teacher, torch.full((tokens,), -100))
        assert loss.item() == 0.0
        assert not torch.autograd.grad(loss, weight)[0].any()


def test_wrong_input_is_refused() -> None:
    student, teacher, at = draw(4, 9), TopK.of(draw(4, 9), 3), plain(4)
    with pytest.raises(InputError, match=r"student_logits must have shape \[4, 9\].*got \[4, 8\]"):
        sparse_kd_loss(student[:, :8], teacher, at)
    with pytest.raises(InputError, match="teacher must be a TopK, got Tensor"):
        coarse_logits(student, student)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k >= 2 where the rest does not count, got 1"):
        sparse_kd_loss(student, TopK.of(draw(4, 9), 1), at, rest=False)
    with pytest.raises(InputError, match="of 4 instances"):
        sparse_kd_bounds(student, teacher, plain(5))
    with pytest.raises(InputError, match="student_logits must be finite"):
        sparse_kd_loss(student * math.inf, teacher, at)
    with pytest.raises(InputError, match="targets must be given to decoupled distillation"):
        sparse_kd_loss(student, teacher, at, objective=DKD())
    criterion = DistillationLoss(make_policy("static"), ce_weight=0.0)
    with pytest.raises(InputError, match="teacher must be of 4 tokens and 9 classes, as the student, got 3 and 9"):
        sparse_distillation_loss(criterion, draw(4, 5), draw(9, 5), teacher[:3])
    beside = DistillationLoss(make_policy("static"), ce_weight=0.0, plain_weight=0.5)
    with pytest.raises(InputError, match=r"plain_weight 0 for a sparse teacher, got 0\.5"):
        sparse_distillation_loss(beside, draw(4, 5), draw(9, 5), teacher)
