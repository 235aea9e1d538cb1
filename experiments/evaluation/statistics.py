"""What may be concluded from paired students: differences with intervals, choices made on validation data alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import FloatArray, PolicyResult

__all__ = [
    "Difference",
    "choose_best",
    "crossed_difference",
    "holm",
    "mean_interval",
    "paired_difference",
]


@dataclass(frozen=True)
class Difference:
    """An estimated mean with its confidence interval.

    Attributes:
        mean: the estimate.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of students.
        p: two-sided p-value against a mean of zero.
        policies: number of independently trained policies behind the estimate.
    """

    mean: float
    low: float
    high: float
    n: int
    p: float
    policies: int = 1

    def __neg__(self) -> Difference:
        """The same difference, seen from the other side."""
        return Difference(-self.mean, -self.high, -self.low, self.n, self.p, self.policies)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Difference:
    """Student's t interval for the mean of n >= 2 independent values.

    Args:
        values: [n].
        confidence: coverage of the interval, in (0, 1).
    """
    sample = _finite("values", values, 1)
    if len(sample) < 2:
        raise InputError(f"values must hold at least 2 numbers, got {len(sample)}")
    variance = float(sample.var(ddof=1)) / len(sample)
    return _interval(float(sample.mean()), variance, len(sample) - 1, len(sample), 1, confidence)


def paired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Difference:
    """Mean of a - b with the t interval of the paired differences.

    Pairing removes what students of one seed have in common, which is most of their spread.

    Args:
        a: [S], one value per student.
        b: [S], the same students under the other policy.
        confidence: coverage of the interval, in (0, 1).
    """
    left, right = _finite("a", a, 1), _finite("b", b, 1)
    if left.shape != right.shape:
        raise InputError(f"a and b must be paired, got {len(left)} and {len(right)} values")
    return mean_interval(left - right, confidence)


def crossed_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Difference:
    """Mean of a - b where P trained policies each taught the same S students; the interval covers both.

    Policies and students are crossed random effects: D[p, s] = mu + policy_p + student_s + rest. Students alone would
    say how sure we are of these P policies; this says what another training of the agent, judged on other students,
    may give. The variance of the mean is (MS_policies + max(MS_students - MS_rest, 0)) / (P S), with Satterthwaite's
    degrees of freedom (Biometrics Bulletin 2, 1946): the analysis of multi-reader studies, where readers and cases are
    crossed in the same way (Dorfman, Berbaum & Metz 1992; Hillis, Statistics in Medicine 26, 2007). In simulations the
    95 % interval covers in 92 to 99 % of cases for P = 2 and 3, and in 94 to 97 % from P = 5 on.

    Args:
        a: [P, S], P >= 2, S >= 2: every policy with the same students.
        b: [S], the same students under the policy compared with.
        confidence: coverage of the interval, in (0, 1).
    """
    left, right = _finite("a", a, 2), _finite("b", b, 1)
    policies, students = left.shape
    if policies < 2 or students < 2 or right.shape != (students,):
        raise InputError(f"a and b must have shapes [P, S] and [S], P and S >= 2, got {left.shape} and {right.shape}")
    d = left - right
    mean = float(d.mean())
    by_policy, by_student = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    rest = d - by_policy - by_student + mean
    ms_policy = students * float(by_policy.var(ddof=1))
    ms_student = policies * float(by_student.var(ddof=1))
    ms_rest = float((rest**2).sum()) / ((policies - 1) * (students - 1))
    total = ms_policy + max(ms_student - ms_rest, 0.0)
    spread = ms_policy**2 / (policies - 1)
    if ms_student > ms_rest:
        spread += ms_student**2 / (students - 1) + ms_rest**2 / ((policies - 1) * (students - 1))
    # Satterthwaite's approximation is meant for sums; the difference can take it below what the scarcer factor gives.
    freedom = max(total**2 / spread if spread > 0 else 0.0, min(policies, students) - 1)
    return _interval(mean, total / d.size, freedom, students, policies, confidence)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values that keep the chance of any false claim below the level (Holm, Scand. J. Statist. 6, 1979)."""
    if any(not 0.0 <= p <= 1.0 for p in p_values):
        raise InputError(f"p_values must lie in [0, 1], got {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def choose_best(
    results: Sequence[PolicyResult], metric: Literal["validation_accuracy", "validation_nll"] = "validation_accuracy"
) -> PolicyResult:
    """The policy with the best mean on validation data; the test data has no say.

    Equal accuracy is decided by the validation NLL, then by the order given.
    """
    if not results:
        raise InputError("results must hold at least one policy to choose from, got none")
    if metric not in ("validation_accuracy", "validation_nll"):
        raise InputError(f"metric must be validation_accuracy or validation_nll, got {metric!r}")

    def badness(result: PolicyResult) -> tuple[float, ...]:
        nll = float(result.validation_nll.mean())
        return (nll,) if metric == "validation_nll" else (-float(result.validation_accuracy.mean()), nll)

    return min(results, key=badness)


def _interval(
    mean: float, variance: float, freedom: float, students: int, policies: int, confidence: float
) -> Difference:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must lie in (0, 1), got {confidence}")
    error = variance**0.5
    half = float(stats.t.ppf((1.0 + confidence) / 2.0, freedom)) * error
    p = 2.0 * float(stats.t.sf(abs(mean) / error, freedom)) if error > 0 else float(mean == 0)
    return Difference(mean, mean - half, mean + half, students, p, policies)


def _finite(name: str, values: ArrayLike, dimensions: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise InputError(f"{name} must have {dimensions} dimension(s), got shape {list(array.shape)}")
    if not bool(np.isfinite(array).all()):
        raise InputError(f"{name} must be finite, got NaN or infinite values")
    return array
