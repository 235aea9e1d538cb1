"""How good K students are."""

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
    """Per student, float64 [K].

    Attributes:
        accuracy: share of correct top-1 predictions, in [0, 1].
        nll: mean negative log-likelihood of the label, in nats.
        calibration_error: expected calibration error in 15 bins of equal width (Guo et al., 2017), in [0, 1].
    """

    accuracy: Tensor
    nll: Tensor
    calibration_error: Tensor


def score(students: Students, data: Dataset, augmentation: Augmentation = _NOTHING) -> Scores:
    """Scores of all students on `data`, clean: the images go through what of `augmentation` is not random."""
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
    """Mean cross-entropy per student [K], of logits [K, N, C] and shared targets [N]."""
    log_probabilities = log_softmax(logits)
    picked = log_probabilities.gather(-1, targets.expand(logits.shape[:-1])[..., None])
    return -picked.squeeze(-1).mean(-1)


def calibration_error(confidence: Tensor, correct: Tensor) -> Tensor:
    """Expected calibration error [K]: |mean confidence - accuracy| per bin, weighted by the bin's share.

    Args:
        confidence: [K, N] probability of the predicted class.
        correct: [K, N] whether the prediction is right.
    """
    gap = confidence - correct.to(confidence.dtype)
    bins = (confidence * _BINS).ceil().long().clamp(1, _BINS) - 1
    per_bin = torch.zeros(*gap.shape[:-1], _BINS, dtype=gap.dtype, device=gap.device).scatter_add_(-1, bins, gap)
    return per_bin.abs().sum(-1) / gap.shape[-1]
