"""The features equal their formulas, written as a loop in float64, and keep what a policy relies on."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.errors import InputError
from rltemp.features import (
    ALIGNED_FEATURES,
    ALL_FEATURES,
    CONTEXT_FEATURES,
    LOGIT_FEATURES,
    TOKEN_FEATURES,
    LogitFeatures,
    positions_in,
)

Inputs = tuple[Tensor, Tensor, Tensor, float, Tensor]


def _inputs(batch: int, classes: int, seed: int = 0, scale: float = 3.0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (scale * torch.randn(2, batch, classes, generator=generator)).unbind()
    targets = torch.randint(classes, (batch,), generator=generator)
    alignment = torch.randn(batch, len(ALIGNMENT_TEMPERATURES), generator=generator)
    return student, teacher, targets, 0.25, alignment


def _softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    powers = [math.exp(value - top) for value in logits]
    return [power / sum(powers) for power in powers]


def _summaries(logits: list[float], target: int) -> dict[str, float]:
    classes, mean = len(logits), sum(logits) / len(logits)
    probabilities = _softmax(logits)
    first, second = sorted(probabilities, reverse=True)[:2]
    deviation = math.sqrt(sum((value - mean) ** 2 for value in logits) / (classes - 1))
    return {
        "confidence": first,
        "margin": first - second,
        "entropy": -sum(p * math.log(p) for p in probabilities if p > 0) / math.log(classes),
        "spread": deviation / (deviation + 4),
        "target_probability": probabilities[target],
    }


def _by_hand(
    student: list[float], teacher: list[float], target: int, progress: float, alignment: list[float]
) -> dict[str, float]:
    q, p = _softmax(student), _softmax(teacher)
    divergence = sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)
    return {
        **{f"teacher_{name}": value for name, value in _summaries(teacher, target).items()},
        **{f"student_{name}": value for name, value in _summaries(student, target).items()},
        "divergence": 1 - math.exp(-divergence),
        "agreement": float(student.index(max(student)) == teacher.index(max(teacher))),
        "progress": progress,
        **_of_probe(alignment),
    }


def _of_probe(alignment: list[float]) -> dict[str, float]:
    effects = dict(zip(ALIGNMENT_TEMPERATURES, alignment, strict=True))
    features = {f"alignment_{t:g}": 0.5 + 0.5 * effect / (1 + abs(effect)) for t, effect in effects.items()}
    low, high = math.log(min(effects)), math.log(max(effects))
    for sharpness in (1, 4, 16):
        weights = _softmax([sharpness * effect for effect in alignment])
        heat = sum(weight * math.log(t) for weight, t in zip(weights, effects, strict=True))
        features[f"preference_{sharpness}"] = (heat - low) / (high - low)
    return features


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_every_feature_equals_its_formula(classes: int) -> None:
    inputs = _inputs(12, classes)
    student, teacher, targets, progress, alignment = inputs
    features = LogitFeatures(ALIGNED_FEATURES)(*inputs)
    for row, z_s, z_t, y, a in zip(
        features, student.double(), teacher.double(), targets, alignment.double(), strict=True
    ):
        expected = _by_hand(z_s.tolist(), z_t.tolist(), int(y), progress, a.tolist())
        assert row.tolist() == pytest.approx([expected[name] for name in ALIGNED_FEATURES], abs=1e-6)


@pytest.mark.parametrize("rows_at_once", [None, 5])
def test_context_features_equal_their_formulas(rows_at_once: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if rows_at_once is not None:
        monkeypatch.setattr("rltemp.features._MOST_AT_ONCE", rows_at_once * 10)
    inputs = _inputs(12, 10)
    student, teacher, targets, progress, alignment = inputs
    got = LogitFeatures(CONTEXT_FEATURES)(*inputs)
    columns: list[dict[str, float]] = []
    for z_s, z_t, y, a in zip(student.double(), teacher.double(), targets.tolist(), alignment.double(), strict=True):
        column = _by_hand(z_s.tolist(), z_t.tolist(), y, progress, a.tolist())
        for name, logits in (("teacher", z_t.tolist()), ("student", z_s.tolist())):
            column[f"{name}_correct"] = float(logits.index(max(logits)) == y)
            column[f"{name}_loss"] = -math.log(_softmax(logits)[y])
        columns.append(column)
    for i, column in enumerate(columns):
        for name in ("teacher_correct", "student_correct"):
            others = [columns[j][name] for j in range(12) if j != i and targets[j] == targets[i]]
            batch = sum(one[name] for one in columns) / 12
            column[f"class_{name}"] = (sum(others) + batch) / (len(others) + 1)
    means = {name: sum(column[name] for column in columns) / 12 for name in columns[0]}
    for row, column in zip(got.tolist(), columns, strict=True):
        for name, value in zip(CONTEXT_FEATURES, row, strict=True):
            own = name.removeprefix("batch_")
            mean = 1.0 - math.exp(-means[own]) if own.endswith("loss") else means[own]
            assert value == pytest.approx(mean if name.startswith("batch_") else column[name], abs=1e-6), name


@pytest.mark.parametrize("classes", [2, 10])
def test_features_of_tokens_equal_their_formulas(classes: int) -> None:
    student, teacher, targets, progress, _ = _inputs(12, classes)
    place = positions_in((4, 3), student.device)
    features = LogitFeatures(TOKEN_FEATURES)
    assert features.needs == {"targets", "position"}
    got = features(student, teacher, targets, progress, None, position=place)
    for i, row in enumerate(got.tolist()):
        y, expected = int(targets[i]), [(i % 3) / 2]
        for logits in (teacher[i].tolist(), student[i].tolist()):
            preferred = sorted(logits, reverse=True).index(logits[y])
            expected.append(math.log(1 + preferred) / math.log(classes))
        assert row == pytest.approx(expected, abs=1e-6)
    assert positions_in((12,), student.device) is None
    assert positions_in((3, 1), student.device).tolist() == [0.0] * 3  # type: ignore[union-attr]


def test_several_students_at_once_get_the_context_of_their_own_batch() -> None:
    student, teacher, targets, progress, alignment = _inputs(12, 10)
    features = LogitFeatures(ALL_FEATURES)
    assert features.over_batch
    assert not LogitFeatures(ALIGNED_FEATURES).over_batch
    place = torch.linspace(0.0, 1.0, 12)
    whole = features(student, teacher, targets, progress, alignment, students=3, position=place)
    for k in range(3):
        own = slice(4 * k, 4 * k + 4)
        alone = features(student[own], teacher[own], targets[own], progress, alignment[own], position=place[own])
        torch.testing.assert_close(whole[own], alone, rtol=0.0, atol=1e-6)


def test_masked_instances_count_in_no_mean() -> None:
    student, teacher, targets, progress, _alignment = _inputs(12, 10)
    features = LogitFeatures(CONTEXT_FEATURES)
    mask = torch.arange(12) % 3 != 1
    kept = features(student[mask], teacher[mask], targets[mask], progress, None)
    whole = features(student, teacher, targets, progress, None, mask=mask)
    torch.testing.assert_close(whole[mask], kept, rtol=0.0, atol=1e-6)
    nothing = features(student, teacher, targets, progress, None, mask=torch.zeros(12, dtype=torch.bool))
    assert bool(torch.isfinite(nothing).all())


@settings(max_examples=60)
@given(
    st.integers(1, 6),
    st.sampled_from([2, 3, 10, 1000]),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]),
)
def test_features_are_finite_and_between_0_and_1(batch: int, classes: int, seed: int, scale: float) -> None:
    features = LogitFeatures(ALL_FEATURES)(*_inputs(batch, classes, seed, scale), position=torch.ones(batch))
    assert features.shape == (batch, len(ALL_FEATURES))
    assert features.dtype == torch.float32
    assert bool(((features >= 0) & (features <= 1)).all())


def test_an_instance_does_not_depend_on_the_others_or_their_order() -> None:
    student, teacher, targets, progress, alignment = _inputs(9, 10)
    features = LogitFeatures(ALIGNED_FEATURES)
    whole = features(student, teacher, targets, progress, alignment)
    order = torch.tensor([4, 0, 8, 2])
    part = features(student[order], teacher[order], targets[order], progress, alignment[order])
    assert torch.allclose(part, whole[order], atol=1e-6)


def test_names_choose_columns_in_their_order() -> None:
    inputs = _inputs(5, 10)
    everything = LogitFeatures(ALIGNED_FEATURES)(*inputs)
    names = ("progress", "alignment_8", "student_margin")
    chosen = LogitFeatures(names)(*inputs)
    assert torch.equal(chosen, everything[:, [ALIGNED_FEATURES.index(name) for name in names]])


@pytest.mark.parametrize(
    ("names", "needs"),
    [
        (LOGIT_FEATURES, {"targets"}),
        (ALIGNED_FEATURES, {"targets", "alignment"}),
        (("teacher_margin", "progress"), set()),
        (("alignment_1",), {"alignment"}),
        (("teacher_target_probability",), {"targets"}),
    ],
)
def test_needs_say_what_the_features_are_computed_from(names: tuple[str, ...], needs: set[str]) -> None:
    features = LogitFeatures(names)
    assert features.needs == needs
    student, teacher, targets, progress, alignment = _inputs(3, 4)
    given_targets = targets if "targets" in needs else None
    given_alignment = alignment if "alignment" in needs else None
    assert features(student, teacher, given_targets, progress, given_alignment).shape == (3, len(names))


def test_progress_may_differ_by_instance() -> None:
    student, teacher, targets, _, _ = _inputs(3, 4)
    progress = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    assert torch.equal(LogitFeatures(["progress"])(student, teacher, targets, progress, None)[:, 0], progress.float())


def test_half_precision_under_autocast_is_widened() -> None:
    student, teacher, targets, progress, alignment = _inputs(6, 10)
    student, teacher = student.bfloat16(), teacher.bfloat16()
    features = LogitFeatures(ALIGNED_FEATURES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = features(student, teacher, targets, progress, alignment)
    assert torch.equal(under, features(student.float(), teacher.float(), targets, progress, alignment))


def test_no_gradient_flows() -> None:
    student, teacher, targets, progress, alignment = _inputs(3, 4)
    features = LogitFeatures(ALIGNED_FEATURES)
    assert not features(student.requires_grad_(), teacher, targets, progress, alignment).requires_grad


@pytest.mark.parametrize("names", [[], ["progress", "progress"], ["loss"], ["progress", 3]])
def test_other_names_are_refused(names: list[str]) -> None:
    with pytest.raises(InputError, match=r"features must be different names out of .*; got"):
        LogitFeatures(names)
