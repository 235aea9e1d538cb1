"""Temperatures by hardness: the paper's formula number by number, and padding that must not count."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rltemp import DistillationLoss, InputError, make_policy


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(logits: list[float]) -> list[float]:
    powers = [math.exp(z) for z in logits]
    return [power / sum(powers) for power in powers]


def hellinger(student: list[float], teacher: list[float]) -> float:
    pairs = zip(probabilities(student), probabilities(teacher), strict=True)
    return math.sqrt(sum((math.sqrt(q) - math.sqrt(p)) ** 2 for q, p in pairs)) / math.sqrt(2)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(2, 7), st.floats(0.1, 10.0), st.floats(0.0, 2.0), st.integers(0, 1000))
def test_it_is_the_papers_formula(batch: int, classes: int, t0: float, c: float, seed: int) -> None:
    student, teacher = draw(batch, classes, seed=seed), draw(batch, classes, seed=seed + 1)
    temperatures = make_policy("adakd", temperature=t0, strength=c)(student, teacher)
    distances = [hellinger(s, t) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)]
    middle = statistics.median_low(distances)
    expected = [t0 * math.exp(-c * math.tanh(math.log(s / middle))) for s in distances]
    assert temperatures.teacher.tolist() == pytest.approx(expected, rel=1e-9)
    assert temperatures.student.tolist() == pytest.approx(expected, rel=1e-9)
    assert temperatures.scale.tolist() == pytest.approx([t * t for t in expected], rel=1e-9)


def test_the_default_stays_within_the_published_range_and_the_hardest_is_coldest() -> None:
    student, teacher = draw(50, 8), draw(50, 8, seed=1)
    temperatures = make_policy("adakd")(student, teacher).teacher
    assert math.exp(-0.5) <= temperatures.min().item() < 1.0 < temperatures.max().item() <= math.exp(0.5)
    distances = [hellinger(s, t) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)]
    assert int(temperatures.argmin()) == distances.index(max(distances))


def test_padding_does_not_influence_the_median() -> None:
    student, teacher = draw(2, 6, 5), draw(2, 6, 5, seed=1)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    padded = torch.where(mask[..., None], student, teacher)  # of distance 0
    alone = make_policy("adakd")(student[mask], teacher[mask])
    for seen in (student, padded):
        parts = DistillationLoss(make_policy("adakd"), ce_weight=0.0).parts(seen, teacher, mask=mask)
        assert torch.equal(parts.temperatures.teacher[mask.flatten()], alone.teacher)
    whole = make_policy("adakd")(padded.flatten(0, 1), teacher.flatten(0, 1))
    assert not torch.allclose(whole.teacher[mask.flatten()], alone.teacher)


@pytest.mark.parametrize("count", [0, 3])
def test_networks_that_agree_have_t0(count: int) -> None:
    logits = draw(3, 5)
    mask = torch.arange(3) < count
    assert make_policy("adakd", temperature=2.0)(logits, logits).teacher.tolist() == [2.0] * 3
    temperatures = make_policy("adakd", temperature=2.0)(logits, logits, mask=mask).teacher
    assert bool((temperatures > 0).all())


def test_a_scale_of_its_own_and_no_gradient() -> None:
    student = draw(4, 5).requires_grad_()
    temperatures = make_policy("adakd", scale=3.0)(student, draw(4, 5, seed=1))
    assert temperatures.scale.tolist() == [3.0] * 4
    assert not temperatures.teacher.requires_grad


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"strength": -0.1}, {"scale": 0.0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        make_policy("adakd", **options)
