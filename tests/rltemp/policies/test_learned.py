"""A learned policy is the function its weights say, of one instance at a time."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from rltemp import InputError, LearnedPolicy, LogitFeatures, kd_loss
from rltemp.features import ALIGNED_FEATURES


def _policy(hidden: Sequence[int] = (7, 5), *, names: Sequence[str] | None = None, size: float = 2.0) -> LearnedPolicy:
    policy = LearnedPolicy(LogitFeatures(names) if names else LogitFeatures(), hidden, low=0.5, high=32.0)
    generator = torch.Generator().manual_seed(0)
    for parameter in policy.parameters():
        parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return policy


def _logits(batch: int = 9, classes: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    student, teacher = (3 * torch.randn(2, batch, classes, generator=generator)).unbind()
    return student, teacher, torch.randint(classes, (batch,), generator=generator)


@pytest.mark.parametrize("hidden", [(), (4,), (7, 5)])
def test_it_is_a_perceptron_of_the_features_on_a_log_scale(hidden: tuple[int, ...]) -> None:
    policy = _policy(hidden, size=0.7)
    student, teacher, targets = _logits()
    chosen = policy(student, teacher, targets, 0.3)
    layers = [module for module in policy.net if isinstance(module, torch.nn.Linear)]
    for i, features in enumerate(policy.features(student, teacher, targets, 0.3, None).tolist()):
        values = [4 * (feature - 0.5) for feature in features]
        for depth, layer in enumerate(layers):
            if depth:
                values = [math.tanh(value) for value in values]
            values = [
                sum(w * value for w, value in zip(row, values, strict=True)) + bias
                for row, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
            ]
        action = min(max(values[0], -1.0), 1.0)
        t = math.exp(math.log(0.5) + (action + 1) / 2 * math.log(64))
        assert float(chosen.teacher[i]) == pytest.approx(t, rel=1e-4)
        assert float(chosen.student[i]) == float(chosen.teacher[i])
        assert float(chosen.scale[i]) == pytest.approx(t * t, rel=1e-4)


def test_with_a_scale_a_temperature_decides_softness_alone() -> None:
    usual, flat = _policy(), LearnedPolicy(LogitFeatures(), (7, 5), low=0.5, high=32.0, scale=16.0)
    flat.load_state_dict(usual.state_dict())
    chosen, reference = flat(*_logits(), 0.3), usual(*_logits(), 0.3)
    assert torch.equal(chosen.teacher, reference.teacher)
    assert chosen.scale.tolist() == [16.0] * 9


def test_relu_between_the_layers_and_a_squashed_action_are_what_they_say() -> None:
    policy = LearnedPolicy(LogitFeatures(["teacher_margin"]), (1,), low=0.5, high=32.0, activation="relu", squash=True)
    for parameter, value in zip(policy.parameters(), (1.0, 0.5, 3.0, -1.0), strict=True):
        parameter.fill_(value)
    for feature in (0.0, 0.3, 0.5, 0.9):
        action = math.tanh(3.0 * max(4.0 * (feature - 0.5) + 0.5, 0.0) - 1.0)
        t = float(policy.temperature(torch.tensor([[feature]])))
        assert t == pytest.approx(0.5 * 64.0 ** ((action + 1.0) / 2.0), rel=1e-5)


def test_temperatures_stay_in_their_range_and_use_it() -> None:
    policy = LearnedPolicy(LogitFeatures(["teacher_margin"]), (), low=0.5, high=32.0)
    next(policy.parameters()).fill_(100.0)
    student, teacher, _ = _logits(200)
    t = policy(student, teacher).teacher
    assert float(t.min()) == pytest.approx(0.5)
    assert float(t.max()) == pytest.approx(32.0)


def test_without_weights_it_chooses_the_middle() -> None:
    student, teacher, targets = _logits()
    t = LearnedPolicy(LogitFeatures(), low=1.0, high=16.0)(student, teacher, targets).teacher
    assert t.tolist() == pytest.approx([4.0] * 9)


def test_an_instance_does_not_depend_on_the_others_or_their_order() -> None:
    policy = _policy()
    student, teacher, targets = _logits()
    order = torch.tensor([5, 0, 3])
    whole = policy(student, teacher, targets, 0.3).teacher[order]
    torch.testing.assert_close(policy(student[order], teacher[order], targets[order], 0.3).teacher, whole)


def test_gradients_reach_the_student_through_the_loss_alone() -> None:
    policy = _policy()
    student, teacher, targets = _logits()
    student.requires_grad_()
    temperatures = policy(student, teacher, targets, 0.3)
    assert not temperatures.teacher.requires_grad
    kd_loss(student, teacher, temperatures).sum().backward()
    assert student.grad is not None
    assert bool(student.grad.any())
    assert all(not parameter.requires_grad for parameter in policy.parameters())


def test_half_precision_under_autocast_is_widened() -> None:
    policy = _policy()
    student, teacher, targets = _logits()
    student, teacher = student.bfloat16(), teacher.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = policy(student, teacher, targets, 0.3).teacher
    assert torch.equal(under, policy(student.float(), teacher.float(), targets, 0.3).teacher)


@pytest.mark.parametrize(
    ("names", "needs"),
    [(None, {"targets"}), (ALIGNED_FEATURES, {"targets", "alignment"}), (("teacher_margin", "progress"), set())],
)
def test_needs_are_the_features(names: Sequence[str] | None, needs: set[str]) -> None:
    policy = _policy(names=names)
    assert policy.needs == needs
    student, teacher, _ = _logits()
    if needs:
        with pytest.raises(InputError, match="LearnedPolicy needs targets, got None"):
            policy(student, teacher)
    else:
        assert len(policy(student, teacher)) == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (4, 0)}, r"hidden must be widths >= 1, got \[4, 0\]"),
        ({"low": 0.0}, "temperature range"),
        ({"low": 4.0, "high": 4.0}, "temperature range"),
        ({"high": math.inf}, "temperature range"),
        ({"low": math.nan}, "temperature range"),
        ({"scale": 0.0}, r"scale must be None or lie in \[0.001, 1e\+06\], got 0"),
        ({"scale": math.nan}, "scale must be None or lie in"),
        ({"activation": "gelu"}, "activation must be one of tanh, relu, got 'gelu'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LearnedPolicy(LogitFeatures(), **options)  # type: ignore[arg-type]


def test_padding_has_no_say_in_a_policy_that_looks_at_its_batch() -> None:
    policy = LearnedPolicy(
        LogitFeatures(["batch_teacher_entropy", "batch_student_loss", "progress"]), (), low=1, high=9
    )
    for number, parameter in enumerate(policy.parameters()):
        parameter.copy_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    student, teacher = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(2)).unbind()
    targets, mask = torch.arange(8) % 5, torch.arange(8) < 6
    short = policy(student[:6], teacher[:6], targets[:6], 0.5)
    torch.testing.assert_close(policy(student, teacher, targets, 0.5, mask=mask).teacher[:6], short.teacher)
    assert not torch.allclose(policy(student, teacher, targets, 0.5).teacher[:6], short.teacher)
