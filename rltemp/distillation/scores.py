"""Accuracy, cross-entropy, and calibration error of K students."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rltemp.data import Augmentation, Dataset
from rltemp.distillation.students import Students
from rltemp.softmax import log_softmax

__all__ = ["Scores", "calibration_error", "cross_entropy", "score"]

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


def score(students: Students, data: Dataset, augmentation: Augmentation = _NOTHING) -> Scores:
    """Scores of all students on clean images.

    Args:
        students: the K students.
        data: the images and labels.
        augmentation: only its deterministic transforms, such as normalization, are applied.
    """
    outputs = [students.predict(augmentation.clean(chunk)).logits for chunk in data.images.split(_CHUNK)]
    logits = torch.cat(outputs, dim=1).double()
    confidence, prediction = logits.softmax(-1).max(-1)
    correct = prediction == data.targets
    return Scores(
        accuracy=correct.double().mean(-1).cpu(),
        nll=cross_entropy(logits, data.targets).cpu(),
        calibration_error=calibration_error(confidence, correct).cpu(),
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
