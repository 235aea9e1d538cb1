"""What an evaluation measured, as values: one number per policy and student, paired over students."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rltemp.checks import check_number
from rltemp.errors import InputError

__all__ = [
    "FIDELITY",
    "METRICS",
    "QUANTILES",
    "Evaluation",
    "Family",
    "FloatArray",
    "PolicyResult",
    "TeacherResult",
    "TemperatureTrace",
]

FloatArray = NDArray[np.float64]

Family = Literal["trained", "schedule", "static", "rule", "control"]
"""What kind of policy it is: learned by an agent, the same number for all instances but changing over the run, one
number, a published rule, or a control (random temperatures, cross-entropy only)."""

FIDELITY = ("agreement", "divergence")
"""The quantities that say how far students follow their teacher; results of earlier versions lack them."""

METRICS = ("accuracy", "nll", "calibration_error", "validation_accuracy", "validation_nll", *FIDELITY)
"""The measured quantities of a `PolicyResult`, each of shape [S]."""

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
"""The quantiles that a `TemperatureTrace` keeps."""


_HOPELESS = 1e3
"""Nats beyond which a student has diverged; a guess among a million classes costs 14."""


@dataclass(frozen=True, eq=False)
class TemperatureTrace:
    """The temperatures a policy chose, in summary and as a sample of M instances.

    Attributes:
        progress: how far the run was, [P], in [0, 1], not decreasing.
        quantiles: `QUANTILES` of the temperature over instances and students at that moment, [P, 5], > 0.
        difficulty: the student's cross-entropy with the label before the update, [M], >= 0.
        temperature: the temperature of the same instance in the same update, [M], > 0.
        sample_progress: how far the run was, [M], in [0, 1].
        mislabelled: 1 where `data.label_noise` put another label in the place of the instance's own, else 0, [M]; None
            where no labels were replaced, or it is not known whose.
    """

    progress: FloatArray
    quantiles: FloatArray
    difficulty: FloatArray
    temperature: FloatArray
    sample_progress: FloatArray
    mislabelled: FloatArray | None = None

    def __post_init__(self) -> None:
        progress = _store(self, "progress", (None,), 0.0, 1.0)
        quantiles = _store(self, "quantiles", (len(progress), len(QUANTILES)), 0.0, positive=True)
        difficulty = _store(self, "difficulty", (None,), 0.0)
        _store(self, "temperature", (len(difficulty),), 0.0, positive=True)
        _store(self, "sample_progress", (len(difficulty),), 0.0, 1.0)
        if self.mislabelled is not None:
            _store(self, "mislabelled", (len(difficulty),), 0.0, 1.0)
        if bool((np.diff(progress) < 0).any()):
            raise InputError("progress must not decrease over the trace")
        if bool((np.diff(quantiles, axis=1) < 0).any()):
            raise InputError("quantiles must not decrease from the 5 % to the 95 % column")


@dataclass(frozen=True, eq=False)
class PolicyResult:
    """What S students reached under one policy, in the last epoch.

    Attributes:
        name: identifies the policy within the evaluation, e.g. "static(temperature=4)".
        accuracy: share of the test images classified correctly, [S], in [0, 1].
        nll: mean cross-entropy on the test images in nats, [S], >= 0; infinite for a student that diverged.
        calibration_error: expected calibration error on the test images, [S], in [0, 1].
        validation_accuracy: accuracy on the validation images, [S], in [0, 1].
        validation_nll: mean cross-entropy on the validation images in nats, [S], >= 0; likewise.
        agreement: share of the test images on which student and teacher predict the same class, [S], in [0, 1]; NaN
            for all students where it was not measured.
        divergence: mean KL(teacher || student) of the predictions at temperature 1 on the test images in nats, [S],
            >= 0; infinite for a student that diverged, and NaN for all students where it was not measured.
        trace: the temperatures it chose, if they were recorded.
        label: what people call it, e.g. "T = 4".
        family: what kind of policy it is.
        group: policies with the same group are repeated trainings of one method (other agent seeds); None if this one
            stands for itself. The group's name is shown for its members.
        trouble: what went wrong during the runs, when, and what to lower; empty if nothing did, or if an earlier
            version measured this.
    """

    name: str
    accuracy: FloatArray
    nll: FloatArray
    calibration_error: FloatArray
    validation_accuracy: FloatArray
    validation_nll: FloatArray
    agreement: FloatArray
    divergence: FloatArray
    trace: TemperatureTrace | None
    label: str
    family: Family
    group: str | None = None
    trouble: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.label or self.group == "":
            raise InputError("a policy's name, label and group must not be empty")
        if self.family not in get_args(Family):
            raise InputError(f"family must be one of {', '.join(get_args(Family))}, got {self.family!r}")
        students = len(_store(self, "accuracy", (None,), 0.0, 1.0))
        _store(self, "nll", (students,), 0.0, finite=False)
        _store(self, "calibration_error", (students,), 0.0, 1.0)
        _store(self, "validation_accuracy", (students,), 0.0, 1.0)
        _store(self, "validation_nll", (students,), 0.0, finite=False)
        _store(self, "agreement", (students,), 0.0, 1.0, missing=True)
        _store(self, "divergence", (students,), 0.0, finite=False, missing=True)

    @property
    def diverged(self) -> int:
        """How many students diverged: their cross-entropy is infinite, or so large that nothing was learned."""
        return int((np.maximum(self.nll, self.validation_nll) > _HOPELESS).sum())


@dataclass(frozen=True)
class TeacherResult:
    """What the teacher reaches on the test images.

    Attributes:
        accuracy: share of them classified correctly, in [0, 1].
        nll: mean cross-entropy in nats, >= 0, or infinite.
        calibration_error: expected calibration error, in [0, 1].
    """

    accuracy: float
    nll: float
    calibration_error: float

    def __post_init__(self) -> None:
        check_number("accuracy", self.accuracy, low=0.0, high=1.0)
        check_number("calibration_error", self.calibration_error, low=0.0, high=1.0)
        if self.nll != np.inf:
            check_number("nll", self.nll, low=0.0)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A comparison of policies on the same students.

    Element s of every policy's arrays is the same student: same seed, same batches, same augmentation. All that
    differs between two policies at s is the temperatures.

    Attributes:
        recipe: name of the recipe.
        setting: the whole recipe as plain values (what YAML and JSON can hold).
        seeds: the students' seeds, S >= 2 (one student has no spread to judge a difference by).
        results: one result per policy, names unique.
        machine: what it ran on: processor, cores, versions (`describe_machine`).
        teacher: what the teacher reaches; None where it was not measured.
    """

    recipe: str
    setting: Mapping[str, Any]
    seeds: tuple[int, ...]
    results: tuple[PolicyResult, ...]
    machine: Mapping[str, str | int]
    teacher: TeacherResult | None = None

    def __post_init__(self) -> None:
        if len(self.seeds) < 2 or len(set(self.seeds)) != len(self.seeds):
            raise InputError(f"seeds must be at least 2 different numbers, got {list(self.seeds)}")
        names = [result.name for result in self.results]
        if not names or len(set(names)) != len(names):
            raise InputError(f"results must hold at least one policy, each under its own name, got {names}")
        if clash := set(names) & {result.group for result in self.results if result.group is not None}:
            raise InputError(f"a group must not bear the name of a policy, got {sorted(clash)}")
        families: dict[str, str] = {}
        for result in self.results:
            if len(result.accuracy) != len(self.seeds):
                raise InputError(
                    f"{result.name} must have one value per seed ({len(self.seeds)}), got {len(result.accuracy)}"
                )
            if families.setdefault(_method(result), result.family) != result.family:
                raise InputError(f"the policies of group {result.group!r} must be of one family")

    def groups(self) -> dict[str, tuple[PolicyResult, ...]]:
        """The policies by method, in order: repeated trainings together, every other policy alone."""
        groups: dict[str, tuple[PolicyResult, ...]] = {}
        for result in self.results:
            groups[_method(result)] = (*groups.get(_method(result), ()), result)
        return groups

    def family(self, family: Family) -> tuple[PolicyResult, ...]:
        """The policies of one family, in order."""
        return tuple(result for result in self.results if result.family == family)


def _method(result: PolicyResult) -> str:
    return result.name if result.group is None else result.group


def _store(
    owner: object,
    name: str,
    shape: tuple[int | None, ...],
    low: float,
    high: float = np.inf,
    positive: bool = False,
    finite: bool = True,
    missing: bool = False,
) -> FloatArray:
    """Replace a field of a frozen dataclass by a checked, read-only float64 copy of itself."""
    values: ArrayLike = getattr(owner, name)
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be an array of numbers, got {type(values).__name__}") from error
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        want = ", ".join("any" if n is None else str(n) for n in shape)
        raise InputError(f"{name} must have shape [{want}], got {list(array.shape)}")
    inside = (array >= low) & (array <= high) & ((array > low) | (not positive)) & (np.isfinite(array) | (not finite))
    if not bool(inside.all()) and not (missing and bool(np.isnan(array).all())):
        bounds = f"{'>' if positive else '>='} {low:g}" + ("" if high == np.inf else f" and <= {high:g}")
        want = f"finite, {bounds}" + ("" if finite else ", or infinite")
        raise InputError(f"{name} must be {want}, got {array[~inside].ravel()[0]:g}")
    array.setflags(write=False)
    object.__setattr__(owner, name, array)
    return array
