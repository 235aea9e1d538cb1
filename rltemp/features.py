"""What a policy sees of an instance: summaries of both networks' logits, each scaled to [0, 1].

The list is named and versioned: a saved policy states which features it was trained on, and one that was trained on
others is refused rather than fed the wrong numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.errors import InputError
from rltemp.precision import without_autocast
from rltemp.softmax import log_softmax, softmax
from rltemp.tracing import is_transformed
from rltemp.transfer import progress_tensor

__all__ = ["ALIGNED_FEATURES", "FEATURES_VERSION", "LOGIT_FEATURES", "LogitFeatures", "center"]

FEATURES_VERSION = 1
"""Rises whenever a feature of the same name changes its value."""

_MOST_AT_ONCE = 1 << 20
"""Logits of one network that are summarized together."""

_LARGE_SPREAD = 4.0
"""Standard deviation of logits (over classes) that maps to 1/2; trained classifiers lie between 1 and 10."""

_SHARPNESS = (1.0, 4.0, 16.0)
"""Of the softmax over a probe's effects that says which temperature it prefers."""

_OF_EACH_NETWORK = ("confidence", "margin", "entropy", "spread", "target_probability")

_OF_THE_PROBE = (
    *(f"alignment_{t:g}" for t in ALIGNMENT_TEMPERATURES),
    *(f"preference_{sharpness:g}" for sharpness in _SHARPNESS),
)

LOGIT_FEATURES: tuple[str, ...] = (
    *(f"teacher_{name}" for name in _OF_EACH_NETWORK),
    *(f"student_{name}" for name in _OF_EACH_NETWORK),
    "divergence",
    "agreement",
    "progress",
)
"""Names of the features that logits, targets and progress give."""

ALIGNED_FEATURES: tuple[str, ...] = LOGIT_FEATURES + _OF_THE_PROBE
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
        unknown = [name for name in names if name not in ALIGNED_FEATURES]
        if unknown or not names or len(set(names)) != len(names):
            known, got = ", ".join(ALIGNED_FEATURES), ", ".join(map(str, names))
            raise InputError(f"features must be different names out of {known}; got {got}")
        self.names = tuple(names)
        needs = {"targets"} if any(name.endswith("target_probability") for name in names) else set()
        self.needs = frozenset(needs | ({"alignment"} if any(name in _OF_THE_PROBE for name in names) else set()))

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
            columns = _of_logits(student_logits.detach().float(), teacher_logits.detach().float(), targets)
            now = progress_tensor(progress, student_logits.detach().float())
            # Contiguous like the other columns: one that is not makes stacking them three times as slow.
            columns["progress"] = now.expand(student_logits.shape[0]).contiguous()
            if "alignment" in self.needs and alignment is not None:
                columns.update(_of_probe(alignment.float()))
            return torch.stack([columns[name] for name in self.names], dim=-1).clamp(0.0, 1.0)


def _of_logits(student: Tensor, teacher: Tensor, targets: Tensor | None) -> dict[str, Tensor]:
    """All that logits [B, C] and targets give, chosen or not: nearly every policy sees nearly all of it.

    The networks are stacked, for in small batches it is the number of operations that costs, and few [2, B, C] are
    alive at once, for fresh memory costs more than the arithmetic on it.
    """
    logits = torch.stack((teacher, student))
    classes, top = logits.shape[-1], logits.argmax(-1)
    log_probabilities = log_softmax(logits)
    # As `std` has it, at a quarter of its cost.
    norm: Tensor = torch.linalg.vector_norm(logits.sub_(logits.mean(-1, keepdim=True)), dim=-1)
    deviation = norm / math.sqrt(classes - 1)
    probabilities = torch.exp(log_probabilities)
    kl = (probabilities[0] * (log_probabilities[0] - log_probabilities[1])).sum(-1)
    confidence = probabilities.amax(-1)
    summaries = {
        "confidence": confidence,
        "entropy": log_probabilities.mul_(probabilities).sum(-1) / -math.log(classes),
        # The saturating form needs no running normaliser and keeps its resolution where classifiers are.
        "spread": deviation / (deviation + _LARGE_SPREAD),
    }
    if targets is not None:
        index = targets.expand(2, -1).unsqueeze(-1)
        summaries["target_probability"] = probabilities.gather(-1, index).squeeze(-1)
    # Two maxima are far cheaper than `topk`, which sorts.
    summaries["margin"] = confidence - probabilities.scatter_(-1, top.unsqueeze(-1), 0.0).amax(-1)
    columns = {
        "divergence": 1.0 - torch.exp(-kl.clamp_min(0.0)),
        "agreement": (top[0] == top[1]).float(),
    }
    for name, summary in summaries.items():
        columns[f"teacher_{name}"], columns[f"student_{name}"] = summary.unbind()
    return columns


def _of_probe(alignment: Tensor) -> dict[str, Tensor]:
    """What the probe alignment [B, A] gives: the effect of every temperature, and which one it prefers."""
    effects = 0.5 + 0.5 * alignment / (1.0 + alignment.abs())
    heat = torch.linspace(0.0, 1.0, alignment.shape[1], device=alignment.device)
    preferences = [softmax(sharpness * alignment) @ heat for sharpness in _SHARPNESS]
    return dict(zip(_OF_THE_PROBE, (*effects.unbind(1), *preferences), strict=True))


def _rows(value: Any, start: int, rows: int) -> Any:
    """Some instances of what has one entry per instance; anything else as it is."""
    return value[start : start + rows] if isinstance(value, Tensor) and value.ndim else value
