"""Decoupled knowledge distillation (Zhao et al., CVPR 2022), with temperatures per instance."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rltemp.checks import check_logits, check_number, check_targets
from rltemp.errors import InputError
from rltemp.objectives.kd import check_temperatures
from rltemp.precision import without_autocast, working_precision
from rltemp.temperatures import Temperatures

__all__ = ["DKD", "dkd_loss"]


@dataclasses.dataclass(frozen=True)
class DKD:
    """Decoupled distillation (`dkd_loss`) as an objective; it needs targets.

    Attributes:
        alpha: weight of TCKD, the target class against all others, >= 0.
        beta: weight of NCKD, the other classes among themselves, >= 0.
    """

    alpha: float = 1.0
    beta: float = 8.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, low=0.0)
        check_number("beta", self.beta, low=0.0)

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        """Decoupled distillation loss per instance, [B], in nats, of logits [B, C] and class indices [B].

        Raises:
            InputError: without targets, or for inputs that do not fit together.
        """
        if targets is None:
            raise InputError("targets must be given to decoupled distillation, got None")
        return dkd_loss(student_logits, teacher_logits, targets, temperatures, self.alpha, self.beta)


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    temperatures: Temperatures,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """Decoupled distillation loss per instance: scale * (alpha * TCKD + beta * NCKD).

    TCKD is the divergence between the probabilities (target, any other class), NCKD that among the other classes,
    renormalized; for C = 2 there is one other class, and NCKD is 0. Source: Zhao et al. (2022), "Decoupled Knowledge
    Distillation", equation 7.

    Args:
        student_logits: [B, C], raw; float16 and bfloat16 are computed in float32.
        teacher_logits: [B, C], raw.
        targets: [B], class indices.
        temperatures: of B instances.
        alpha: weight of TCKD, >= 0.
        beta: weight of NCKD, >= 0; the paper takes 2 to 8, by pair of networks.

    Returns:
        [B], in nats, >= 0 up to rounding.

    Raises:
        InputError: for wrong shapes, unequal class counts, NaN or infinite logits, or temperatures of another batch.
    """
    check_logits(student_logits, teacher_logits)
    batch, classes = student_logits.shape
    check_targets(targets, batch, classes)
    check_temperatures(temperatures, batch)
    alpha, beta = check_number("alpha", alpha, low=0.0), check_number("beta", beta, low=0.0)
    with without_autocast(student_logits):
        student_logits, teacher_logits = working_precision(student_logits, teacher_logits)
        return _dkd_loss(
            student_logits, teacher_logits, targets.long(), temperatures.to(student_logits.dtype), alpha, beta
        )


def _dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    temperatures: Temperatures,
    alpha: float,
    beta: float,
) -> Tensor:
    log_q, log_q_others = _decouple(student_logits / temperatures.student[:, None], targets)
    log_p, log_p_others = _decouple(teacher_logits / temperatures.teacher[:, None], targets)
    tckd = (log_p.exp() * (log_p - log_q)).sum(1)
    p_others = log_p_others.exp().scatter(1, targets[:, None], 0.0)
    nckd = (p_others * (log_p_others - log_q_others)).sum(1)
    return temperatures.scale * (alpha * tckd + beta * nckd)


def _decouple(softened: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of (target, not target) [B, 2], and of the other classes among themselves [B, C].

    All are differences of log-sum-exps, so that a probability too small for its dtype still has a logarithm. At the
    target the second result is 0 and must be ignored: the true value would overflow `exp` where the target dominates.
    """
    index = targets[:, None]
    softened = softened - softened.detach().amax(1, keepdim=True)
    others = softened.scatter(1, index, -torch.inf).logsumexp(1, keepdim=True)
    target = softened.gather(1, index)
    total = torch.logaddexp(target, others)
    return torch.cat((target - total, others - total), dim=1), (softened - others).scatter(1, index, 0.0)
