"""The probe alignment is what its derivation says: the first-order fall of the probe loss, on a scale of its own."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rltemp.alignment import ALIGNMENT_TEMPERATURES, alignment_effects, normalized_alignment, probe_gradient


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _softmax(logits: list[float], t: float) -> list[float]:
    powers = [math.exp(value / t) for value in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("t", [0.5, 1.0, 4.0, 32.0])
def test_effects_equal_a_loop(t: float) -> None:
    tangent, student, teacher = (_random(5, 7, seed=seed) for seed in range(3))
    expected = [
        sum(u_c * t * (q_c - p_c) for u_c, q_c, p_c in zip(u, _softmax(z_s, t), _softmax(z_t, t), strict=True))
        for u, z_s, z_t in zip(tangent.tolist(), student.tolist(), teacher.tolist(), strict=True)
    ]
    assert alignment_effects(tangent, student, teacher, t).tolist() == pytest.approx(expected, rel=1e-12)


def test_each_instance_may_have_a_temperature_of_its_own() -> None:
    tangent, student, teacher = (_random(2, 5, 7, seed=seed) for seed in range(3))
    t = _random(2, 5, seed=3).exp()
    together = alignment_effects(tangent, student, teacher, t)
    for k in range(2):
        for i in range(5):
            alone = alignment_effects(tangent[k, i], student[k, i], teacher[k, i], float(t[k, i]))
            assert float(together[k, i]) == pytest.approx(float(alone), rel=1e-12)


def test_effects_are_the_inner_products_of_the_two_gradients() -> None:
    """Descending an instance's loss T^2 KL moves the probe loss, to first order, by the product of their gradients."""
    network = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 4)).double()
    images, probe = _random(5, 3, seed=0), _random(8, 3, seed=1)
    targets = torch.arange(8) % 4
    teacher, t = _random(5, 4, seed=2), 3.0
    parameters = list(network.parameters())
    logits = network(images)
    p, log_q = F.softmax(teacher / t, dim=-1), F.log_softmax(logits / t, dim=-1)
    losses = t * t * (p * (p.log() - log_q)).sum(-1)

    def product(output: Tensor) -> float:
        gradients = torch.autograd.grad(output, parameters, retain_graph=True)
        return sum(float((a * b).sum()) for a, b in zip(gradients, of_probe, strict=True))

    of_probe = torch.autograd.grad(F.cross_entropy(network(probe), targets), parameters)
    tangent = torch.tensor([[product(logit) for logit in row] for row in logits], dtype=torch.float64)
    expected = torch.tensor([product(loss) for loss in losses], dtype=torch.float64)
    torch.testing.assert_close(alignment_effects(tangent, logits.detach(), teacher, t), expected)


def test_the_probe_gradient_is_autograds() -> None:
    layer = nn.Linear(6, 4).double()
    hidden, targets = _random(9, 6, seed=0), torch.arange(9) % 4
    logits = layer(hidden)
    weight, bias = probe_gradient(hidden, logits.detach(), targets)
    F.cross_entropy(logits, targets).backward()
    torch.testing.assert_close(weight.mT, layer.weight.grad)
    torch.testing.assert_close(bias, layer.bias.grad)


def test_the_probe_gradient_of_several_students_is_that_of_each() -> None:
    hidden, logits = _random(3, 9, 6, seed=0), _random(3, 9, 4, seed=1)
    targets = torch.arange(9) % 4
    weight, bias = probe_gradient(hidden, logits, targets.expand(3, -1))
    for k in range(3):
        alone = probe_gradient(hidden[k], logits[k], targets)
        torch.testing.assert_close((weight[k], bias[k]), alone)


def test_the_unit_is_an_effect_of_the_usual_size_at_four() -> None:
    tangent, student, teacher = (_random(6, 7, seed=seed) for seed in range(3))
    effects = [alignment_effects(tangent, student, teacher, t) for t in ALIGNMENT_TEMPERATURES]
    unit = math.sqrt(sum(a * a for a in alignment_effects(tangent, student, teacher, 4.0).tolist()) / 6)
    expected = torch.stack(effects, dim=-1) / unit
    torch.testing.assert_close(normalized_alignment(tangent, student, teacher), expected)


@given(st.integers(1, 8), st.integers(2, 12), st.floats(1e-6, 1e6), st.integers(0, 2**31))
def test_the_scale_of_the_tangents_does_not_matter(batch: int, classes: int, factor: float, seed: int) -> None:
    tangent, student, teacher = _random(3, batch, classes, seed=seed)
    torch.testing.assert_close(
        normalized_alignment(factor * tangent, student, teacher),
        normalized_alignment(tangent, student, teacher),
        rtol=1e-9,
        atol=1e-9,
    )


def test_normalizing_follows_the_order_of_instances_and_keeps_students_apart() -> None:
    tangent, student, teacher = (_random(3, 6, 5, seed=seed) for seed in range(3))
    together = normalized_alignment(tangent, student, teacher)
    assert together.shape == (3, 6, len(ALIGNMENT_TEMPERATURES))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    for k in range(3):
        shuffled = normalized_alignment(tangent[k, order], student[k, order], teacher[k, order])
        torch.testing.assert_close(shuffled, together[k, order])


def test_no_effect_at_all_is_no_alignment() -> None:
    student, teacher = _random(4, 5, seed=0).float(), _random(4, 5, seed=1).float()
    assert bool((normalized_alignment(torch.zeros(4, 5), student, teacher) == 0).all())
    assert bool((normalized_alignment(torch.ones(4, 5), student, student) == 0).all())
