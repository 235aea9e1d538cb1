"""Features of an instance for a policy: summaries of both networks' logits, each scaled to [0, 1].

The list is named and versioned: a saved policy states the features it was trained on, and is refused where these do not
exist, rather than fed the wrong numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.batch_features import BATCH_FEATURES, CLASS_FEATURES, OF_EACH_NETWORK, RIGHT, of_batch, of_classes
from rltemp.errors import InputError
from rltemp.precision import without_autocast
from rltemp.softmax import log_softmax, softmax
from rltemp.tracing import is_transformed
from rltemp.transfer import progress_tensor

__all__ = [
    "ALIGNED_FEATURES",
    "ALL_FEATURES",
    "CONTEXT_FEATURES",
    "FEATURES_VERSION",
    "LOGIT_FEATURES",
    "TOKEN_FEATURES",
    "LogitFeatures",
    "center",
    "positions_in",
]

FEATURES_VERSION = 1
"""Rises whenever a feature of the same name changes its value."""

_MOST_AT_ONCE = 1 << 20
"""Most logits of one network, rows * C, that are summarized in one call, which bounds the memory."""

_LARGE_SPREAD = 4.0
"""Standard deviation of logits (over classes) that maps to 1/2; trained classifiers lie between 1 and 10."""

_SHARPNESS = (1.0, 4.0, 16.0)
"""Factors on the alignment before the softmax whose mean log temperature is a "preference" feature."""

_OF_THE_PROBE = (
    *(f"alignment_{t:g}" for t in ALIGNMENT_TEMPERATURES),
    *(f"preference_{sharpness:g}" for sharpness in _SHARPNESS),
)

LOGIT_FEATURES: tuple[str, ...] = (
    *(f"teacher_{name}" for name in OF_EACH_NETWORK),
    *(f"student_{name}" for name in OF_EACH_NETWORK),
    "divergence",
    "agreement",
    "progress",
)
"""Names of the features that logits, targets, and progress give, without a probe."""

ALIGNED_FEATURES: tuple[str, ...] = LOGIT_FEATURES + _OF_THE_PROBE
"""Names of the features of `LOGIT_FEATURES`, then those of the probe alignment."""

CONTEXT_FEATURES: tuple[str, ...] = (*RIGHT, *BATCH_FEATURES, *CLASS_FEATURES)
"""Names of the features that place an instance in its batch: whether a network's top class is the label, means over the
batch, and how often the networks are right for its class there. They show what one instance cannot: how noisy the
labels are, for which classes the teacher is good, how far the student is.
"""

TOKEN_FEATURES: tuple[str, ...] = ("position", "teacher_rank", "student_rank")
"""Names of the features for tokens: how far into its window one stands, and how many classes each network prefers to
the label, which with a large vocabulary says more than whether it is right.
"""

ALL_FEATURES: tuple[str, ...] = ALIGNED_FEATURES + CONTEXT_FEATURES + TOKEN_FEATURES
"""Names of all features."""

_NEED_TARGETS = ("target_probability", "correct", "loss", "rank")


def center(features: Tensor) -> Tensor:
    """Shift and scale features from [0, 1] to [-2, 2], keeping their shape.

    Networks with tanh units learn several times faster on inputs of this size; a policy's network gets its features
    through this function alone.
    """
    return 4.0 * (features - 0.5)


def positions_in(shape: Sequence[int], device: torch.device) -> Tensor | None:
    """Where each instance of shape [..., L] stands in its window, [N] in [0, 1], in order; None for a shape [N]."""
    if len(shape) < 2:
        return None
    share = torch.arange(shape[-1], device=device) / max(1, shape[-1] - 1)
    return share.expand(*shape).flatten()


class LogitFeatures:
    """Per-instance summaries of student and teacher logits, [B, F] in [0, 1].

    For each network: top-1 probability, margin between the two largest probabilities, entropy divided by log C, spread
    s / (s + 4) with s the standard deviation of the logits over the classes, and probability of the label. For the
    pair: 1 - exp(-KL(teacher || student)), and agreement of the top classes (0 or 1). Then the progress of the run. For
    an aligned policy: the probe alignment a(T) as 1/2 + a / (2 + 2 |a|), and the preferred temperature, the mean of log
    T under softmax(sharpness * a(T)) on a scale from 0 (coldest) to 1 (hottest). For one that looks at its batch:
    whether each network's top class is the label (0 or 1), and as "batch_..." the mean of a feature over the batch; the
    mean cross-entropy l of a network with the labels is shown as 1 - exp(-l). As "class_..." the mean over the others
    of the batch with the same label and one more that has the batch's mean. For tokens: the position in the window, and
    as "..._rank" log(1 + r) / log C with r the number of classes that a network prefers to the label.

    Args:
        names: which features, in order, out of `ALL_FEATURES`; by default those that need neither probe nor batch.

    Attributes:
        names: the chosen features, in order.
        needs: which of "targets", "alignment" and "position" the chosen features are computed from.
        over_batch: whether a chosen feature is a mean over instances of the batch.

    Raises:
        InputError: for no name, a name that does not exist, or one given twice.
    """

    def __init__(self, names: Sequence[str] = LOGIT_FEATURES) -> None:
        unknown = [name for name in names if name not in ALL_FEATURES]
        if unknown or not names or len(set(names)) != len(names):
            known, got = ", ".join(ALL_FEATURES), ", ".join(map(str, names))
            raise InputError(f"features must be different names out of {known}; got {got}")
        self.names = tuple(names)
        needs = {"targets"} if any(name.endswith(_NEED_TARGETS) for name in names) else set()
        needs |= {"alignment"} if any(name in _OF_THE_PROBE for name in names) else set()
        self.needs = frozenset(needs | ({"position"} & set(names)))
        self._by_class = any(name in CLASS_FEATURES for name in names)
        self.over_batch = self._by_class or any(name in BATCH_FEATURES for name in names)
        self._ranked = any(name.endswith("rank") for name in names)
        self._in_context = any(name in CONTEXT_FEATURES for name in names)

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
        students: int = 1,
        mask: Tensor | None = None,
        position: Tensor | None = None,
    ) -> Tensor:
        """Compute the features of a batch from inputs that `TemperaturePolicy` has checked.

        Args:
            student_logits: [B, C].
            teacher_logits: [B, C].
            targets: [B] class indices; may be None where "targets" is not in `needs`.
            progress: share of the run that is done, in [0, 1]; a number or a tensor of shape [] or [B].
            alignment: [B, A]; may be None where "alignment" is not in `needs`.
            students: whose batches of equal size stand one after the other, a divisor of B.
            mask: [B] bool, which instances count for the means over a batch; None for all.
            position: [B] in [0, 1], of a token in its window; may be None where "position" is not in `needs`.

        Returns:
            [B, F] float32 in [0, 1], without gradient.
        """
        rows = max(1, _MOST_AT_ONCE // student_logits.shape[1])
        inputs = (student_logits, teacher_logits, targets, progress, alignment)
        if is_transformed() or len(student_logits) <= rows:
            columns = self._of(*inputs)
        else:
            # With the vocabulary of a language model, all instances at once would take more memory than the loss.
            parts = [
                self._of(*(_rows(value, start, rows) for value in inputs))
                for start in range(0, len(student_logits), rows)
            ]
            columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if position is not None:
            columns["position"] = position.float()
        if self.over_batch:
            columns.update(of_batch(columns, students, mask))
        if self._by_class and targets is not None:
            columns.update(of_classes(columns, targets, student_logits.shape[1], students, mask))
        return torch.stack([columns[name] for name in self.names], dim=-1).clamp(0.0, 1.0)

    def _of(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> dict[str, Tensor]:
        """What is computed of each instance alone, [B], by name."""
        with torch.no_grad(), without_autocast(student_logits):
            student, teacher = student_logits.detach().float(), teacher_logits.detach().float()
            columns = _of_logits(student, teacher, targets, self._in_context)
            if self._ranked and targets is not None:
                columns.update(_of_ranks(student, teacher, targets))
            columns["progress"] = _progress_column(progress, student)
            if "alignment" in self.needs and alignment is not None:
                columns.update(_of_probe(alignment.float()))
            return columns


def _of_logits(student: Tensor, teacher: Tensor, targets: Tensor | None, in_context: bool) -> dict[str, Tensor]:
    """Features [B] of logits [B, C] and targets [B], by name: all of them, since nearly every policy uses nearly all.

    What only places an instance in its batch is computed if it is looked at (`in_context`).

    Both networks are stacked, since in small batches the number of operations decides the time. Few [2, B, C] tensors
    are alive at once, since allocating memory costs more than the arithmetic.
    """
    logits = torch.stack((teacher, student))
    classes, top = logits.shape[-1], logits.argmax(-1)
    log_probabilities = log_softmax(logits)
    summaries = _of_labels(log_probabilities, top, targets) if in_context and targets is not None else {}
    # The result of `Tensor.std`, at a quarter of its cost.
    norm: Tensor = torch.linalg.vector_norm(logits.sub_(logits.mean(-1, keepdim=True)), dim=-1)
    deviation = norm / math.sqrt(classes - 1)
    probabilities = torch.exp(log_probabilities)
    kl = (probabilities[0] * (log_probabilities[0] - log_probabilities[1])).sum(-1)
    confidence = probabilities.amax(-1)
    summaries["confidence"] = confidence
    summaries["entropy"] = log_probabilities.mul_(probabilities).sum(-1) / -math.log(classes)
    # This saturating form needs no running statistics, and resolves best where trained classifiers lie.
    summaries["spread"] = deviation / (deviation + _LARGE_SPREAD)
    if targets is not None:
        summaries["target_probability"] = probabilities.gather(-1, _index(targets)).squeeze(-1)
    # Two maxima are far cheaper than `topk`, which sorts.
    summaries["margin"] = confidence - probabilities.scatter_(-1, top.unsqueeze(-1), 0.0).amax(-1)
    columns = {
        "divergence": 1.0 - torch.exp(-kl.clamp_min(0.0)),
        "agreement": (top[0] == top[1]).float(),
    }
    for name, summary in summaries.items():
        columns[f"teacher_{name}"], columns[f"student_{name}"] = summary.unbind()
    return columns


def _of_labels(log_probabilities: Tensor, top: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Whether each network's top class [2, B] is the label, and its cross-entropy in nats, [2, B], by name."""
    losses = -log_probabilities.gather(-1, _index(targets)).squeeze(-1)
    return {"correct": (top == targets).float(), "loss": losses}


def _index(targets: Tensor) -> Tensor:
    """Of the labels [B] in what both networks say, [2, B, C]."""
    return targets.expand(2, -1).unsqueeze(-1)


def _of_ranks(student: Tensor, teacher: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """How many classes each network prefers to the label, [B] on a log scale, by name."""
    logits = torch.stack((teacher, student))
    own = logits.gather(-1, _index(targets))
    rank = (logits > own).sum(-1)
    teachers, students = (torch.log1p(rank.float()) / math.log(logits.shape[-1])).unbind()
    return {"teacher_rank": teachers, "student_rank": students}


def _progress_column(progress: float | Tensor, student: Tensor) -> Tensor:
    """The progress of the run, [B]."""
    if not isinstance(progress, Tensor):
        return student.new_full((student.shape[0],), progress)
    # Contiguous, since one expanded column makes `stack` three times as slow.
    return progress_tensor(progress, student).expand(student.shape[0]).contiguous()


def _of_probe(alignment: Tensor) -> dict[str, Tensor]:
    """Features [B] of the probe alignment [B, A], by name: the effect of every temperature, and the preferred ones."""
    effects = 0.5 + 0.5 * alignment / (1.0 + alignment.abs())
    heat = torch.linspace(0.0, 1.0, alignment.shape[1], device=alignment.device)
    preferences = [softmax(sharpness * alignment) @ heat for sharpness in _SHARPNESS]
    return dict(zip(_OF_THE_PROBE, (*effects.unbind(1), *preferences), strict=True))


def _rows(value: Any, start: int, rows: int) -> Any:
    """Rows `start` to `start + rows` of a tensor with one row per instance; any other value unchanged."""
    return value[start : start + rows] if isinstance(value, Tensor) and value.ndim else value
