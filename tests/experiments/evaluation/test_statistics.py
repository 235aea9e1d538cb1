import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.statistics import (
    choose_best,
    crossed_difference,
    holm,
    mean_interval,
    paired_difference,
)

values = st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=2, max_size=12)


def result(name: str, validation_accuracy: list[float], validation_nll: list[float], accuracy: float) -> PolicyResult:
    zeros = np.zeros(len(validation_accuracy))
    return PolicyResult(
        name=name,
        accuracy=zeros + accuracy,
        nll=zeros,
        calibration_error=zeros,
        validation_accuracy=np.array(validation_accuracy),
        validation_nll=np.array(validation_nll),
        agreement=zeros,
        divergence=zeros,
        trace=None,
        label=name,
        family="static",
    )


def test_paired_interval_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, variance 1, standard error 1 / sqrt(3); the 97.5 % point of t with 2 degrees of
    # freedom is 4.302653 in every printed table.
    difference = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert difference.mean == pytest.approx(2.0)
    assert difference.high - difference.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert difference.mean - difference.low == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    # With 2 degrees of freedom the t distribution function is closed: p = 1 - t / sqrt(2 + t^2), t = 2 sqrt(3).
    assert difference.p == pytest.approx(1 - math.sqrt(12) / math.sqrt(14), rel=1e-9)
    assert (difference.n, difference.policies) == (3, 1)


@given(values, values)
def test_paired_interval_agrees_with_scipy(a: list[float], b: list[float]) -> None:
    n = min(len(a), len(b))
    x, y = np.array(a[:n]), np.array(b[:n])
    if np.ptp(x - y) < 1e-6:
        return
    expected = stats.ttest_rel(x, y)
    got = paired_difference(x, y, 0.9)
    interval = expected.confidence_interval(0.9)
    assert got.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


@given(values)
def test_swapping_the_sides_mirrors_the_interval(a: list[float]) -> None:
    b = a[::-1]
    forward, backward = paired_difference(a, b), paired_difference(b, a)
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low), abs=1e-12)


def test_pairing_removes_what_students_share() -> None:
    rng = np.random.default_rng(0)
    student = rng.normal(0, 10, 40)
    a, b = student + 1 + rng.normal(0, 0.1, 40), student + rng.normal(0, 0.1, 40)
    difference = paired_difference(a, b)
    assert difference.low > 0.9
    assert difference.high < 1.1


def test_no_spread_leaves_no_doubt() -> None:
    same, shifted = paired_difference([1.0, 2.0], [1.0, 2.0]), paired_difference([1.5, 2.5], [1.0, 2.0])
    assert (same.low, same.high, same.p) == (0.0, 0.0, 1.0)
    assert (shifted.low, shifted.high, shifted.p) == (0.5, 0.5, 0.0)


def test_crossed_interval_by_hand() -> None:
    # D = [[0, 2], [4, 10]]: mean 4; policy means 1, 7; student means 2, 6; rest +-1.
    # MS_policy = 2 * 18 = 36, MS_student = 2 * 8 = 16, MS_rest = 4; total = 36 + 12 = 48, variance = 48 / 4 = 12.
    # Degrees of freedom 48^2 / (36^2 + 16^2 + 4^2) = 2304 / 1568.
    difference = crossed_difference([[0.0, 2.0], [4.0, 10.0]], [0.0, 0.0])
    assert difference.mean == pytest.approx(4.0)
    assert difference.high - 4.0 == pytest.approx(stats.t.ppf(0.975, 2304 / 1568) * math.sqrt(12))
    assert (difference.n, difference.policies) == (2, 2)


def test_crossed_interval_without_student_effect_is_the_interval_over_policies() -> None:
    # Every student's mean is 2, so that only the policies' means 1, 2, 3 speak.
    d = np.array([[0.0, 2.0, 1.0], [2.0, 1.0, 3.0], [4.0, 3.0, 2.0]])
    crossed, over_policies = crossed_difference(d, np.zeros(3)), mean_interval(d.mean(axis=1))
    assert (crossed.low, crossed.high) == pytest.approx((over_policies.low, over_policies.high))


@pytest.mark.parametrize(
    ("policies", "students", "policy_sd", "student_sd", "rest_sd"),
    [(3, 8, 1, 1, 1), (3, 32, 0, 1, 1), (5, 16, 1, 0, 1), (5, 16, 1, 1, 0.1), (2, 8, 0, 0, 1), (10, 8, 0.3, 1, 0.5)],
)
def test_crossed_interval_covers(
    policies: int, students: int, policy_sd: float, student_sd: float, rest_sd: float
) -> None:
    rng = np.random.default_rng(7)
    draws, hits = 800, 0
    for _ in range(draws):
        d = 0.5 + policy_sd * rng.standard_normal((policies, 1)) + rest_sd * rng.standard_normal((policies, students))
        student = student_sd * rng.standard_normal(students)
        interval = crossed_difference(d + student, np.zeros(students))
        hits += interval.low <= 0.5 <= interval.high
    # Three standard errors of a simulated share of 0.95 are 0.023.
    assert hits / draws > 0.95 - 0.025


def test_students_alone_would_claim_too_much() -> None:
    # Policies differ, students hardly: an interval over students alone misses the truth nearly always.
    rng = np.random.default_rng(3)
    naive = crossed = 0
    for _ in range(200):
        d = rng.standard_normal((4, 1)) + 0.1 * rng.standard_normal((4, 16))
        over_students = mean_interval(d.mean(axis=0))
        naive += over_students.low <= 0 <= over_students.high
        both = crossed_difference(d, np.zeros(16))
        crossed += both.low <= 0 <= both.high
    assert naive < 40
    assert crossed > 180


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1, never decreasing: 0.03, 0.04, 0.04.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx((0.04, 0.03, 0.04))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([0.03]) == (0.03,)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_the_raw_value_and_bonferroni(p: list[float]) -> None:
    for raw, adjusted in zip(p, holm(p), strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p)) + 1e-15


def test_the_best_is_chosen_on_validation_data() -> None:
    good_on_test = result("a", [0.70, 0.72], [0.1, 0.1], accuracy=0.99)
    good_on_validation = result("b", [0.73, 0.71], [0.9, 0.9], accuracy=0.10)
    assert choose_best([good_on_test, good_on_validation]).name == "b"
    assert choose_best([good_on_test, good_on_validation], "validation_nll").name == "a"


def test_equal_accuracy_is_decided_by_validation_nll_then_order() -> None:
    a, b, c = result("a", [0.5, 0.5], [2, 2], 0), result("b", [0.5, 0.5], [1, 1], 0), result("c", [0.5, 0.5], [1, 1], 0)
    assert choose_best([a, b, c]).name == "b"
    assert choose_best([a, c, b]).name == "c"


def test_refusals() -> None:
    with pytest.raises(InputError, match="at least 2"):
        mean_interval([1.0])
    with pytest.raises(InputError, match="paired, got 2 and 3"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="finite"):
        paired_difference([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(InputError, match="confidence"):
        mean_interval([1.0, 2.0], 95)
    with pytest.raises(InputError, match="P and S >= 2"):
        crossed_difference([[1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(InputError, match="p_values"):
        holm([1.2])
    with pytest.raises(InputError, match="at least one policy"):
        choose_best([])
