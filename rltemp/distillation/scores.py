"""Accuracy, cross-entropy, and calibration error of K students, and how far they follow their teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from rltemp.data import Augmentation, Dataset
from rltemp.distillation.students import Students
from rltemp.softmax import log_softmax

__all__ = [
    "Fidelity",
    "Scores",
    "calibration_error",
    "clean_logits",
    "cross_entropy",
    "fidelity",
    "score",
    "score_logits",
]

_CHUNK = 1000
_BINS = 15
_NOTHING = Augmentation()


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of K students, each a float64 tensor [K] on the CPU.

    Attributes:
        accuracy: share of correct top-1 predictions, in [0, 1].
        nll: mean negative log-likelihood of the label, in nats.
        calibration_error: expected calibration error in 15 bins of equal width, in [0, 1] (Guo et al., 2017, equation
            3).
    """

    accuracy: Tensor
    nll: Tensor
    calibration_error: Tensor


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """How far K students follow their teacher, each a float64 tensor [K] on the CPU.

    Stanton et al. (2021), "Does Knowledge Distillation Really Work?", section 3, measure both.

    Attributes:
        agreement: share of the images on which student and teacher predict the same class, in [0, 1].
        divergence: mean KL(teacher || student) of the predictions at temperature 1, in nats, >= 0.
    """

    agreement: Tensor
    divergence: Tensor


def score(students: Students, data: Dataset, augmentation: Augmentation = _NOTHING) -> Scores:
    """Scores of all students on clean images.

    Args:
        students: the K students.
        data: the images and labels.
        augmentation: only its deterministic transforms, such as normalization, are applied.
    """
    return score_logits(clean_logits(lambda images: students.predict(images).logits, data, augmentation), data.labels)


def clean_logits(answer: Callable[[Tensor], Tensor], data: Dataset, augmentation: Augmentation = _NOTHING) -> Tensor:
    """Logits [..., N, C] of clean images, or [..., N * L, C] of windows of texts, in float64.

    Args:
        answer: maps images [M, ...] to logits [..., M, C], or windows to [..., M * L, C], without graph; called on one
            part of the data after another.
        data: the N images.
        augmentation: only its deterministic transforms, such as normalization, are applied.
    """
    outputs = [answer(augmentation.clean(chunk)) for chunk in data.images.split(_CHUNK)]
    return torch.cat(outputs, dim=-2).double()


def score_logits(logits: Tensor, targets: Tensor) -> Scores:
    """Scores of logits [K, N, C] in float64 against shared targets [N]."""
    # One student after the other: all at once would take several times the memory of the logits.
    confidences, predictions = zip(*(one.softmax(-1).max(-1) for one in logits), strict=True)
    confidence, correct = torch.stack(confidences), torch.stack(predictions) == targets
    return Scores(
        accuracy=correct.double().mean(-1).cpu(),
        nll=torch.cat([cross_entropy(one, targets) for one in logits.split(1)]).cpu(),
        calibration_error=calibration_error(confidence, correct).cpu(),
    )


def fidelity(logits: Tensor, teacher_logits: Tensor) -> Fidelity:
    """How far the students' logits [K, N, C] follow the teacher's [N, C] on the same images, both in float64."""
    sure = log_softmax(teacher_logits)
    probabilities, prediction = sure.exp(), teacher_logits.argmax(-1)
    # One student after the other, likewise.
    divergences = [(probabilities * (sure - log_softmax(one))).sum(-1).mean() for one in logits]
    return Fidelity(
        agreement=(logits.argmax(-1) == prediction).double().mean(-1).cpu(),
        # By rounding, the divergence of equal predictions may be less than 0.
        divergence=torch.stack(divergences).clamp(min=0.0).cpu(),
    )


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy per student, [K], in nats, of logits [K, N, C] and shared targets [N]."""
    log_probabilities = log_softmax(logits)
    picked = log_probabilities.gather(-1, targets.expand(logits.shape[:-1])[..., None])
    return -picked.squeeze(-1).mean(-1)


def calibration_error(confidence: Tensor, correct: Tensor) -> Tensor:
    """Expected calibration error [K], in [0, 1]: |mean confidence - accuracy| per bin, weighted by the bin's share.

    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", equation 3, with 15 bins of equal width.

    Args:
        confidence: [K, N] probability of the predicted class, in [0, 1].
        correct: [K, N] bool, whether the prediction is right.
    """
    gap = confidence - correct.to(confidence.dtype)
    bins = (confidence * _BINS).ceil().long().clamp(1, _BINS) - 1
    per_bin = torch.zeros(*gap.shape[:-1], _BINS, dtype=gap.dtype, device=gap.device).scatter_add_(-1, bins, gap)
    return per_bin.abs().sum(-1) / gap.shape[-1]
