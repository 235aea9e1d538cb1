"""What an agent is paid for lowering: a loss of the students' logits on held-out images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rltemp.distillation.scores import cross_entropy
from rltemp.recipes.schema import Objective
from rltemp.softmax import log_softmax, softmax

__all__ = ["fitted_sharpness", "loss_of_lost", "objective_loss"]

_STEPS = 30
_FLATTEST, _SHARPEST = 1.0 / 64.0, 64.0


def objective_loss(objective: Objective, logits: Tensor, targets: Tensor) -> Tensor:
    """Loss of every student, [K].

    "nll" is the mean cross-entropy in nats. "calibrated-nll" is the same at the one temperature that is best for this
    student's logits, so that nobody is paid for calibration (Guo et al., 2017, section 4.2). "soft-error" is the mean
    probability of the wrong classes at half that temperature, a smooth stand-in for the error. "error" is the share of
    images whose top class is wrong; it has no gradient.

    Args:
        objective: one of these.
        logits: [K, N, C].
        targets: [N] class indices.
    """
    if objective == "nll":
        return cross_entropy(logits, targets)
    if objective == "error":
        return (logits.argmax(-1) != targets).to(logits.dtype).mean(-1)
    sharpness = fitted_sharpness(logits, targets)[:, None, None]
    if objective == "calibrated-nll":
        return cross_entropy(sharpness * logits, targets)
    index = targets.expand(logits.shape[:-1]).unsqueeze(-1)
    return 1.0 - softmax(2.0 * sharpness * logits).gather(-1, index).squeeze(-1).mean(-1)


def loss_of_lost(objective: Objective, classes: int) -> float:
    """What a student that diverged is taken to lose at least, whatever its logits are.

    An error is 1, the highest. A cross-entropy has no highest value, and such a student's own is no number or dwarfs
    all others: it is that of a guess, log C.
    """
    return 1.0 if objective in ("error", "soft-error") else math.log(classes)


def fitted_sharpness(logits: Tensor, targets: Tensor) -> Tensor:
    """The factor b in [1/64, 64] on logits [K, N, C] of the least cross-entropy with targets [N]; [K], no gradient.

    Bisection on log b: the cross-entropy is convex in b, with slope mean_n (E_p[z] - z_y), p = softmax(b z).
    """
    with torch.no_grad():
        own = logits.gather(-1, targets.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)
        low = logits.new_full((len(logits),), _FLATTEST).log()
        high = logits.new_full((len(logits),), _SHARPEST).log()
        for _ in range(_STEPS):
            middle = (low + high) / 2.0
            p = log_softmax(middle.exp()[:, None, None] * logits).exp()
            rises = ((p * logits).sum(-1) - own).mean(-1) > 0.0
            low, high = torch.where(rises, low, middle), torch.where(rises, middle, high)
        return ((low + high) / 2.0).exp()
