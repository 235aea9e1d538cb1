"""What a policy sees of an instance: summaries of both networks' logits, each scaled to [0, 1].

The list is named and versioned: a saved policy states which features it was trained on, and one that was trained on
others is refused rather than fed the wrong numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.errors import InputError
from rltemp.precision import without_autocast
from rltemp.softmax import log_softmax, softmax
from rltemp.transforms import is_transformed

__all__ = ["ALIGNED_FEATURES", "FEATURES_VERSION", "LOGIT_FEATURES", "LogitFeatures", "center"]

FEATURES_VERSION = 1
"""Rises whenever a feature of the same name changes its value."""

_MOST_AT_ONCE = 1 << 20
"""Logits of one network that are summarized together."""

_LARGE_SPREAD = 4.0
"""Standard deviation of logits (over classes) that maps to 1/2; trained classifiers lie between 1 and 10."""


@dataclass(frozen=True)
class _Logits:
    """One network's logits of a batch, [B, C] float32, and what several features share."""

    values: Tensor
    log_probabilities: Tensor
    probabilities: Tensor
    top: Tensor
    targets: Tensor | None

    @classmethod
    def of(cls, values: Tensor, targets: Tensor | None) -> _Logits:
        # Nearly every policy sees all of them. Properties cached at first use would be a graph break for compilers.
        log_probabilities = log_softmax(values)
        probabilities = log_probabilities.exp()
        return cls(values, log_probabilities, probabilities, values.argmax(-1), targets)

    @property
    def classes(self) -> int:
        return self.values.shape[-1]

    def confidence(self) -> Tensor:
        return self.probabilities.amax(-1)

    def margin(self) -> Tensor:
        # Two maxima are far cheaper than `topk`, which sorts.
        return self.confidence() - self.probabilities.scatter(-1, self.top[:, None], 0.0).amax(-1)

    def entropy(self) -> Tensor:
        return -(self.probabilities * self.log_probabilities).sum(-1) / math.log(self.classes)

    def spread(self) -> Tensor:
        # The saturating form needs no running normaliser and keeps its resolution where classifiers are.
        # As `std` has it, at a quarter of its cost.
        above_mean = self.values - self.values.mean(-1, keepdim=True)
        deviation: Tensor = torch.linalg.vector_norm(above_mean, dim=-1) / math.sqrt(self.classes - 1)
        return deviation / (deviation + _LARGE_SPREAD)

    def target_probability(self) -> Tensor:
        assert self.targets is not None
        return self.probabilities.gather(-1, self.targets[:, None]).squeeze(-1)


@dataclass(frozen=True)
class _Observation:
    """Everything a feature may be computed from."""

    student: _Logits
    teacher: _Logits
    progress: float | Tensor
    alignment: Tensor | None

    def divergence(self) -> Tensor:
        excess = self.teacher.log_probabilities - self.student.log_probabilities
        kl = (self.teacher.probabilities * excess).sum(-1)
        return 1.0 - torch.exp(-kl.clamp_min(0.0))

    def agreement(self) -> Tensor:
        return (self.student.top == self.teacher.top).float()

    def run_progress(self) -> Tensor:
        return torch.as_tensor(self.progress, dtype=torch.float32, device=self.student.values.device).expand(
            self.student.values.shape[0]
        )

    def aligned(self, column: int) -> Tensor:
        assert self.alignment is not None
        effect = self.alignment[:, column].float()
        return 0.5 + 0.5 * effect / (1.0 + effect.abs())

    def preference(self, sharpness: float) -> Tensor:
        assert self.alignment is not None
        weights = softmax(sharpness * self.alignment.float())
        return weights @ torch.linspace(0.0, 1.0, weights.shape[-1], device=weights.device)


_Feature = Callable[[_Observation], Tensor]

_NETWORK_FEATURES: Mapping[str, Callable[[_Logits], Tensor]] = MappingProxyType(
    {
        "confidence": _Logits.confidence,
        "margin": _Logits.margin,
        "entropy": _Logits.entropy,
        "spread": _Logits.spread,
        "target_probability": _Logits.target_probability,
    }
)


def _of_student(summary: Callable[[_Logits], Tensor]) -> _Feature:
    return lambda observation: summary(observation.student)


def _of_teacher(summary: Callable[[_Logits], Tensor]) -> _Feature:
    return lambda observation: summary(observation.teacher)


def _aligned(column: int) -> _Feature:
    return lambda observation: observation.aligned(column)


def _preference(sharpness: float) -> _Feature:
    return lambda observation: observation.preference(sharpness)


_FEATURES: Mapping[str, _Feature] = MappingProxyType(
    {f"teacher_{name}": _of_teacher(summary) for name, summary in _NETWORK_FEATURES.items()}
    | {f"student_{name}": _of_student(summary) for name, summary in _NETWORK_FEATURES.items()}
    | {
        "divergence": _Observation.divergence,
        "agreement": _Observation.agreement,
        "progress": _Observation.run_progress,
    }
    | {f"alignment_{t:g}": _aligned(column) for column, t in enumerate(ALIGNMENT_TEMPERATURES)}
    | {f"preference_{sharpness:g}": _preference(sharpness) for sharpness in (1.0, 4.0, 16.0)}
)

_PROBED = ("alignment_", "preference_")

LOGIT_FEATURES: tuple[str, ...] = tuple(name for name in _FEATURES if not name.startswith(_PROBED))
"""Names of the features that logits, targets and progress give."""

ALIGNED_FEATURES: tuple[str, ...] = tuple(_FEATURES)
"""The logit features and the probe alignment."""


def center(features: Tensor) -> Tensor:
    """Features in [0, 1] as a network with tanh units wants them: around 0, and large enough to bend it; same shape.

    Agents learn several times faster so; a policy's network sees its features through this and nothing else.
    """
    return 4.0 * (features - 0.5)


class LogitFeatures:
    """Per-instance summaries of student and teacher logits.

    For each network: top-1 probability, margin between the two largest probabilities, entropy divided by log C,
    spread s / (s + 4) of the logits' standard deviation s, probability of the label. Of both:
    1 - exp(-KL(teacher || student)), agreement of the top classes. Then the progress of the run. For an aligned policy:
    the probe alignment a(T) as 1/2 + a / (2 + 2 |a|), and which temperature it prefers, the mean of log T under
    softmax(sharpness * a(T)) on a scale from 0 (coldest) to 1 (hottest).

    Args:
        names: which features, in order; by default all that need no probe.

    Attributes:
        needs: which of "targets" and "alignment" the chosen features are computed from.

    Raises:
        InputError: for a name that does not exist or stands twice.
    """

    def __init__(self, names: Sequence[str] = LOGIT_FEATURES) -> None:
        unknown = [name for name in names if name not in _FEATURES]
        if unknown or not names or len(set(names)) != len(names):
            raise InputError(
                f"features must be different names out of {', '.join(_FEATURES)}; got {', '.join(map(str, names))}"
            )
        self.names = tuple(names)
        needs = {"targets"} if any(name.endswith("target_probability") for name in names) else set()
        self.needs = frozenset(needs | ({"alignment"} if any(name.startswith(_PROBED) for name in names) else set()))

    def __len__(self) -> int:
        """Number of features F."""
        return len(self.names)

    def __call__(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Tensor:
        """Features [B, F] in [0, 1], float32 and without gradient, of checked inputs (see `TemperaturePolicy`)."""
        rows = max(1, _MOST_AT_ONCE // student_logits.shape[1])
        if is_transformed() or len(student_logits) <= rows:
            return self._of(student_logits, teacher_logits, targets, progress, alignment)
        # With the vocabulary of a language model, all instances at once would take more memory than the loss itself.
        inputs = (student_logits, teacher_logits, targets, progress, alignment)
        parts = [[_rows(value, start, rows) for value in inputs] for start in range(0, len(student_logits), rows)]
        return torch.cat([self._of(*part) for part in parts])

    def _of(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Tensor:
        with torch.no_grad(), without_autocast(student_logits):
            observation = _Observation(
                student=_Logits.of(student_logits.detach().float(), targets),
                teacher=_Logits.of(teacher_logits.detach().float(), targets),
                progress=progress,
                alignment=alignment,
            )
            columns = [_FEATURES[name](observation) for name in self.names]
            return torch.stack(columns, dim=-1).clamp(0.0, 1.0)


def _rows(value: Any, start: int, rows: int) -> Any:
    """Some instances of what has one entry per instance; anything else as it is."""
    return value[start : start + rows] if isinstance(value, Tensor) and value.ndim else value
