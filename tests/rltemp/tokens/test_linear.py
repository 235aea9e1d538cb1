"""Losses and policies from hidden states equal those of the logits themselves, and never hold them all."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rltemp
from rltemp import DKD, DistillationLoss, InputError, Temperatures, kd_loss, make_policy
from rltemp.experiments.bench.memory import peak_bytes
from rltemp.features import TOKEN_FEATURES
from rltemp.objectives import AdaptiveKD, JensenShannonKD, ReverseKD
from rltemp.policies.controls import AnnealPolicy
from rltemp.tokens import linear_distillation_loss, linear_kd_loss, linear_temperatures


class Networks:
    """Hidden states and output layers of a student, all of which want gradients, and of a wider teacher."""

    def __init__(self, tokens: int, vocabulary: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(seed)
        sizes = [(tokens, 5), (vocabulary, 5), (vocabulary,), (tokens, 7), (vocabulary, 7), (vocabulary,)]
        drawn = [torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype) for size in sizes]
        self.hidden, self.weight, self.bias, self.teacher_hidden, self.teacher_weight, self.teacher_bias = drawn
        self.leaves = [leaf.requires_grad_() for leaf in (self.hidden, self.weight, self.bias)]
        self.heads = (self.hidden, self.weight, self.teacher_hidden, self.teacher_weight)
        self.biases: dict[str, Any] = {"student_bias": self.bias, "teacher_bias": self.teacher_bias}
        self.targets = torch.randint(vocabulary, (tokens,), generator=generator)

    def logits(self) -> tuple[Tensor, Tensor]:
        student = F.linear(self.hidden, self.weight, self.bias)
        return student, F.linear(self.teacher_hidden, self.teacher_weight, self.teacher_bias)


def draw(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_temperatures(tokens: int) -> tuple[Temperatures, list[Tensor]]:
    values = [(0.3 + draw(tokens, seed=i).abs()).requires_grad_() for i in range(3)]
    return Temperatures(*values), values


@pytest.mark.parametrize("objective", [None, DKD(), ReverseKD(), JensenShannonKD(0.2), AdaptiveKD()])
@settings(deadline=None, max_examples=8)
@given(st.integers(1, 9), st.integers(2, 30), st.integers(1, 10), st.integers(0, 100))
def test_losses_and_all_gradients_are_those_of_the_logits(
    objective: Any, tokens: int, vocabulary: int, chunk: int, seed: int
) -> None:
    nets, (at, values) = Networks(tokens, vocabulary, seed), some_temperatures(tokens)
    upstream = draw(tokens, seed=seed)
    plain = (objective or rltemp.KD())(*nets.logits(), nets.targets, at)
    linear = linear_kd_loss(*nets.heads, at, **nets.biases, targets=nets.targets, objective=objective, chunk=chunk)
    torch.testing.assert_close(linear, plain, rtol=1e-10, atol=1e-10)
    expected = torch.autograd.grad(plain, [*nets.leaves, *values], upstream)
    actual = torch.autograd.grad(linear, [*nets.leaves, *values], upstream)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_the_gradients_equal_numeric_ones() -> None:
    nets, (_, values) = Networks(5, 6), some_temperatures(5)

    def loss(hidden: Tensor, weight: Tensor, *at: Tensor) -> Tensor:
        heads = (hidden, weight, nets.teacher_hidden, nets.teacher_weight)
        return linear_kd_loss(*heads, Temperatures(*at), chunk=2)

    assert torch.autograd.gradcheck(loss, [nets.hidden, nets.weight, *values])


POLICIES = ["static", "anneal", "ctkd", "dtkd", "normkd", "lskd", "wttm", "spread", "adakd", "learned"]


def policy_of(name: str) -> rltemp.TemperaturePolicy:
    if name != "learned":
        return make_policy(name).double()
    policy = rltemp.LearnedPolicy(rltemp.LogitFeatures(), (4,))
    for i, parameter in enumerate(policy.parameters()):
        parameter.copy_(draw(*parameter.shape, seed=i))
    return policy


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("objective", [None, DKD()])
def test_the_criterion_says_what_it_says_of_logits(name: str, objective: Any) -> None:
    nets = Networks(12, 9)
    nets.targets[[2, 7]] = -100
    mask = torch.arange(12) != 5
    criterion = DistillationLoss(policy_of(name), objective, warmup=0.6, plain_weight=0.3)
    wanted = [*nets.leaves, *(p for p in criterion.parameters() if p.requires_grad)]
    plain = criterion(*nets.logits(), nets.targets, 0.4, mask=mask)
    linear = linear_distillation_loss(criterion, *nets.heads, nets.targets, 0.4, mask, **nets.biases, chunk=5)
    precision = 1e-6 if name == "learned" else 1e-10  # its network is in float32, whose products depend on the chunk
    torch.testing.assert_close(linear, plain, rtol=precision, atol=precision)
    expected, actual = torch.autograd.grad(3 * plain, wanted), torch.autograd.grad(3 * linear, wanted)
    torch.testing.assert_close(actual, expected, rtol=precision, atol=precision)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_chooses_what_it_chooses_for_logits(name: str) -> None:
    nets, policy = Networks(12, 9), policy_of(name)
    precision = 1e-5 if name == "learned" else 1e-10  # its network is in float32
    for mask, progress in ((None, 0.3), (torch.arange(12) % 3 > 0, torch.linspace(0, 1, 12, dtype=torch.float64))):
        expected = policy(*nets.logits(), nets.targets, progress, mask=mask).detach()
        actual = linear_temperatures(policy, *nets.heads, nets.targets, progress, mask, **nets.biases, chunk=5)
        for field in ("teacher", "student", "scale"):
            torch.testing.assert_close(getattr(actual, field), getattr(expected, field), rtol=precision, atol=0)
            assert not getattr(actual, field).requires_grad


def test_a_policy_is_told_where_a_token_stands_whatever_the_chunk() -> None:
    nets, policy = Networks(12, 9), rltemp.LearnedPolicy(rltemp.LogitFeatures(TOKEN_FEATURES), ())
    next(policy.parameters()).copy_(draw(1, 3))
    criterion = DistillationLoss(policy)
    rows = [part.view(3, 4, -1) for part in (nets.hidden, nets.teacher_hidden)]
    heads, targets = (rows[0], nets.weight, rows[1], nets.teacher_weight), nets.targets.view(3, 4)
    plain = criterion(*(part.view(3, 4, 9) for part in nets.logits()), targets, 0.4)
    linear = linear_distillation_loss(criterion, *heads, targets, 0.4, **nets.biases, chunk=5)
    torch.testing.assert_close(linear, plain, rtol=1e-6, atol=0.0)  # the policy's network is in float32
    elsewhere = criterion(*(part.view(2, 6, 9) for part in nets.logits()), nets.targets.view(2, 6), 0.4)
    assert not torch.isclose(elsewhere, plain, rtol=1e-3)
    with pytest.raises(InputError, match="LearnedPolicy needs position, got None"):
        criterion(*nets.logits(), nets.targets, 0.4)


def test_sentences_of_hidden_states_are_flattened() -> None:
    nets, criterion = Networks(12, 9), DistillationLoss(make_policy("adakd"))
    folded = (nets.hidden.view(3, 4, 5), nets.weight, nets.teacher_hidden.view(3, 4, 7), nets.teacher_weight)
    flat = linear_distillation_loss(criterion, *nets.heads, nets.targets)
    assert torch.equal(linear_distillation_loss(criterion, *folded, nets.targets.view(3, 4)), flat)


@pytest.mark.parametrize("name", ["static", "spread", "adakd"])
@pytest.mark.parametrize("tokens", [0, 4])
def test_where_no_token_counts_loss_and_gradients_are_exactly_zero(name: str, tokens: int) -> None:
    nets, criterion = Networks(tokens, 9), DistillationLoss(make_policy(name))
    loss = linear_distillation_loss(criterion, *nets.heads, torch.full((tokens,), -100), **nets.biases)
    loss.backward()
    assert loss.item() == 0.0
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in nets.leaves)
    at = Temperatures.shared(torch.ones(0))
    empty = Networks(0, 9)
    assert linear_kd_loss(*empty.heads, at).shape == (0,)


def test_the_teacher_is_taken_as_given_even_where_the_matrix_is_shared() -> None:
    nets = Networks(6, 9)
    at = Temperatures.shared(torch.full((6,), 2.0, dtype=torch.float64))
    tied = linear_kd_loss(nets.hidden, nets.weight, draw(6, 5), nets.weight, at, chunk=4)
    copy = linear_kd_loss(nets.hidden, nets.weight, draw(6, 5), nets.weight.detach(), at, chunk=4)
    (actual,), (expected,) = (torch.autograd.grad(loss.sum(), nets.weight) for loss in (tied, copy))
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_losses_and_sums_in_float32(dtype: torch.dtype) -> None:
    nets, criterion = Networks(200, 40, dtype=dtype), DistillationLoss(make_policy("static"))
    plain = criterion(*nets.logits(), nets.targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        linear = linear_distillation_loss(criterion, *nets.heads, nets.targets, **nets.biases, chunk=16)
    assert linear.dtype == torch.float32
    torch.testing.assert_close(linear, plain, rtol=1e-5, atol=0)
    expected, actual = torch.autograd.grad(plain, nets.leaves), torch.autograd.grad(linear, nets.leaves)
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == dtype
        error = (one.double() - other.double()).norm() / other.double().norm()
        assert error < 4 * torch.finfo(dtype).eps


def test_a_scaled_loss_keeps_small_gradients_from_vanishing_in_float16() -> None:
    """A gradient scaler multiplies the loss: what is computed along with it must not be rounded before."""
    generator, found = torch.Generator().manual_seed(0), []
    hidden, weight = torch.randn(2048, 8, generator=generator), torch.randn(100, 8, generator=generator)
    taught = hidden + 0.02 * torch.randn(2048, 8, generator=generator)
    criterion = DistillationLoss(make_policy("static", temperature=2.0), ce_weight=0.0)
    for dtype, linear in ((torch.float32, False), (torch.float16, False), (torch.float16, True)):
        leaves = [value.to(dtype).clone().requires_grad_() for value in (hidden, weight)]
        heads = (leaves[0], leaves[1], taught.to(dtype), weight.to(dtype))
        if linear:
            loss = linear_distillation_loss(criterion, *heads, chunk=512)
        else:
            loss = criterion(F.linear(*heads[:2]), F.linear(*heads[2:]))
        found.append([grad.float() / 2**16 for grad in torch.autograd.grad(2**16 * loss, leaves)])
    for precise, plain, ours in zip(*found, strict=True):
        assert (ours - precise).norm() < 1.1 * (plain - precise).norm() < 0.1 * precise.norm()


def test_weights_in_float32_meet_hidden_states_of_autocast() -> None:
    nets, criterion = Networks(40, 30, dtype=torch.float32), DistillationLoss(make_policy("adakd"))
    hidden, teacher = nets.hidden.detach().bfloat16().requires_grad_(), nets.teacher_hidden.bfloat16()
    wanted = [hidden, nets.weight, nets.bias]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = F.linear(hidden, nets.weight, nets.bias), F.linear(teacher, nets.teacher_weight, nets.teacher_bias)
        plain = criterion(*logits, nets.targets)
        heads = (hidden, nets.weight, teacher, nets.teacher_weight)
        linear = linear_distillation_loss(criterion, *heads, nets.targets, **nets.biases, chunk=16)
        at = linear_temperatures(criterion.policy, *heads, **nets.biases, chunk=16)
    assert logits[0].dtype == torch.bfloat16
    torch.testing.assert_close(linear, plain, rtol=1e-5, atol=0)
    torch.testing.assert_close(at.teacher, criterion.policy(*logits).teacher, rtol=1e-5, atol=0)
    expected, actual = torch.autograd.grad(plain, wanted), torch.autograd.grad(linear, wanted)
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).norm() / other.norm() < 0.02


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    nets, seen = Networks(6, 9), []

    def spy(
        student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return kd_loss(student_logits, teacher_logits, temperatures)

    criterion = DistillationLoss(make_policy("static"), spy)
    with torch.no_grad():
        loss = linear_distillation_loss(criterion, *nets.heads, nets.targets, chunk=2)
    assert not loss.requires_grad
    assert seen == [False] * 3
    assert linear_distillation_loss(criterion, *nets.heads, nets.targets, chunk=2).item() == loss.item()
    assert seen[3:] == [True] * 3
    hidden, weight, *teacher = (leaf.detach() for leaf in nets.heads)
    given: dict[str, Any] = {"teacher_hidden": teacher[0], "teacher_weight": teacher[1], "targets": nets.targets}
    assert not linear_distillation_loss(criterion, hidden, weight, **given).requires_grad
    part = linear_distillation_loss(criterion, nets.hidden, weight, **given, chunk=2)
    plain = criterion(F.linear(nets.hidden, weight), F.linear(*teacher), nets.targets)
    torch.testing.assert_close(torch.autograd.grad(part, nets.hidden), torch.autograd.grad(plain, nets.hidden))


@pytest.mark.parametrize("name", ["static", "adakd", "learned"])
def test_memory_does_not_grow_with_the_logits_of_all_tokens(name: str) -> None:
    nets = Networks(256, 4000, dtype=torch.float32)
    policy = policy_of(name) if name == "learned" else make_policy(name)
    criterion = DistillationLoss(policy)
    at = Temperatures.shared(torch.full((256,), 2.0))
    whole = 4 * 256 * 4000  # bytes of one network's logits

    def by_criterion() -> None:
        linear_distillation_loss(criterion, *nets.heads, nets.targets, **nets.biases, chunk=8).backward()

    def by_token() -> None:
        linear_kd_loss(*nets.heads, at, **nets.biases, chunk=8).sum().backward()

    assert peak_bytes(by_criterion) < whole
    assert peak_bytes(by_token) < whole
    assert peak_bytes(lambda: criterion(*nets.logits(), nets.targets).backward()) > 4 * whole


class Whole(AnnealPolicy):
    """A rule of somebody's that looks over its batch, and does not say how."""

    over_batch = True


def test_wrong_input_is_refused() -> None:
    nets, criterion = Networks(4, 9), DistillationLoss(make_policy("static"))
    hidden, weight, teacher_hidden, teacher_weight = nets.heads
    at = Temperatures.shared(torch.ones(4))
    with pytest.raises(InputError, match="same vocabulary, got 9 and 8 rows"):
        linear_kd_loss(hidden, weight, teacher_hidden, teacher_weight[:8], at)
    with pytest.raises(InputError, match=r"student_weight must have shape \[V, 5\]"):
        linear_kd_loss(hidden, teacher_weight, teacher_hidden, teacher_weight, at)
    with pytest.raises(InputError, match=r"agree in all but H, got \[4, 5\] and \[3, 7\]"):
        linear_kd_loss(hidden, weight, teacher_hidden[:3], teacher_weight, at)
    with pytest.raises(InputError, match=r"teacher_weight must be floating point"):
        linear_kd_loss(hidden, weight, teacher_hidden, teacher_weight.long(), at)
    with pytest.raises(InputError, match="student_weight must be on cpu, as student_hidden, got meta"):
        linear_kd_loss(hidden, weight.to("meta"), teacher_hidden, teacher_weight, at)
    with pytest.raises(InputError, match=r"student_bias must have shape \[9\]"):
        linear_kd_loss(*nets.heads, at, student_bias=nets.bias[:3])
    with pytest.raises(InputError, match="of 4 instances"):
        linear_kd_loss(*nets.heads, Temperatures.shared(torch.ones(5)))
    with pytest.raises(InputError, match="chunk must be a number of tokens >= 1, got 0"):
        linear_kd_loss(*nets.heads, at, chunk=0)
    with pytest.raises(InputError, match="student_logits must be finite"):
        linear_kd_loss(hidden * math.nan, *nets.heads[1:], at)
    with pytest.raises(InputError, match="targets must lie in"):
        linear_kd_loss(*nets.heads, at, targets=torch.full((4,), 9), objective=DKD())
    with pytest.raises(InputError, match=r"mask must be bool of shape \[4\]"):
        linear_distillation_loss(criterion, *nets.heads, nets.targets, mask=torch.ones(3, dtype=torch.bool))
    with pytest.raises(InputError, match="targets must be given where ce_weight is > 0"):
        linear_distillation_loss(criterion, *nets.heads)
    with pytest.raises(InputError, match="needs alignment"):
        linear_distillation_loss(DistillationLoss(make_policy("influence")), *nets.heads, nets.targets)
    for call in (
        linear_temperatures,
        lambda policy, *heads: linear_distillation_loss(DistillationLoss(policy, ce_weight=0.0), *heads),
    ):
        with pytest.raises(InputError, match="OverBatchPolicy, to go over hidden states in chunks, got Whole"):
            call(Whole(), *nets.heads)
    with pytest.raises(InputError, match="at least one token"):
        linear_temperatures(make_policy("static"), *Networks(0, 9).heads)
