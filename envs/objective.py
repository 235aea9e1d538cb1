"""What an agent is paid for lowering: a loss of the students' logits on held-out images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rltemp.distillation.scores import cross_entropy
from rltemp.recipes.schema import Objective
from rltemp.softmax import softmax

__all__ = ["fitted_sharpness", "loss_of_lost", "objective_loss"]

_STEPS = 30
_FLATTEST, _SHARPEST = 1.0 / 64.0, 64.0
_STRIDE = 8.0
"""Largest factor of a Newton step: far from the root the curvature there says little."""
_SETTLED = 1e-5
"""Relative step after which Newton's next would be lost in rounding: its error is about the square."""


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

    The cross-entropy is convex in b: its slope is mean_n (E_p[z] - z_y), p = softmax(b z), which rises by
    mean_n Var_p[z]. Newton's steps from the sharpest end, where a student that is right everywhere stays; a step that
    leaves what is known of the root's place bisects log b instead.
    """
    with torch.no_grad():
        # Classes first, so that sums over them run along whole vectors.
        below = (logits - logits.amax(-1, keepdim=True)).movedim(-1, 0).contiguous()
        own = below.gather(0, targets.expand(logits.shape[:-1])[None])[0].mean(-1)
        low, high = logits.new_full((len(logits),), _FLATTEST), logits.new_full((len(logits),), _SHARPEST)
        sharpness = high
        for _ in range(_STEPS):
            mean, variance = _moments(below, sharpness)
            slope = mean.mean(-1) - own
            rises = slope > 0.0
            low, high = torch.where(rises, low, sharpness), torch.where(rises, sharpness, high)
            newton = sharpness - slope / variance.mean(-1)
            newton = newton.clamp(sharpness / _STRIDE, sharpness * _STRIDE).clamp(_FLATTEST, _SHARPEST)
            before = sharpness
            sharpness = torch.where((newton >= low) & (newton <= high), newton, (low * high).sqrt())
            if bool(((sharpness - before).abs() <= _SETTLED * before).all()):
                break
        return sharpness


def _moments(logits: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [K, N] of logits [C, K, N], none above 0, under the softmax of each student's sharpness [K]."""
    powers = (sharpness[:, None] * logits).exp_()
    total = powers.sum(0)
    mean = powers.mul_(logits).sum(0) / total
    return mean, powers.mul_(logits).sum(0) / total - mean.square()
