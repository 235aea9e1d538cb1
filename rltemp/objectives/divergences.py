"""Divergences beside the forward KL of plain distillation, as objectives: reverse, Jensen-Shannon, skewed.

p are the teacher's probabilities, softened by the teacher's temperature of the instance, q the student's by the
student's; the instance's scale multiplies the divergence, so that T^2 and a constant are the policy's choice.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from rltemp.checks import check_logit_shapes, check_number
from rltemp.errors import InputError
from rltemp.objectives.divergence import soften
from rltemp.objectives.kd import check_temperatures, name_bad_logits
from rltemp.precision import without_autocast, working_precision
from rltemp.temperatures import Temperatures

__all__ = ["DivergenceObjective", "JensenShannonKD", "ReverseKD", "SkewedKD", "divergence_loss", "kl"]


class DivergenceObjective(ABC):
    """A divergence of the softened distributions as an objective; it ignores targets."""

    def __call__(
        self, student_logits: Tensor, teacher_logits: Tensor, targets: Tensor | None, temperatures: Temperatures
    ) -> Tensor:
        """Loss per instance, [B], in nats, of logits [B, C].

        Raises:
            InputError: for logits and temperatures that do not fit together.
        """
        return divergence_loss(student_logits, teacher_logits, temperatures, self._divergence)

    @abstractmethod
    def _divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The divergence, [B], of log-probabilities [B, C] of teacher and student."""


@dataclasses.dataclass(frozen=True)
class ReverseKD(DivergenceObjective):
    """Distillation by the reverse divergence, scale * KL(q || p), as an objective; it ignores targets.

    Source: Gu et al. (2024), "MiniLLM: Knowledge Distillation of Large Language Models", for language models.
    """

    def _divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return kl(log_q, log_p)


@dataclasses.dataclass(frozen=True)
class JensenShannonKD(DivergenceObjective):
    """Generalized Jensen-Shannon divergence, beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q.

    Its value is at most log 2. Over beta it tends to KL(p || q) as beta tends to 0, and over 1 - beta to KL(q || p) as
    beta tends to 1. Source: Agarwal et al. (2024), "On-Policy Distillation of Language Models", equation 1.

    Attributes:
        beta: in (0, 1); for the ends take `KD()` and `ReverseKD()`.
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < check_number("beta", self.beta) < 1.0:
            raise InputError(f"beta must lie in (0, 1), got {self.beta:g}: take KD() for 0 and ReverseKD() for 1")

    def _divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        log_m = _mixture(log_p, log_q, self.beta)
        return self.beta * kl(log_p, log_m) + (1.0 - self.beta) * kl(log_q, log_m)


@dataclasses.dataclass(frozen=True)
class SkewedKD(DivergenceObjective):
    """Divergence from a mixture: KL(p || alpha p + (1 - alpha) q), or reversed KL(q || alpha q + (1 - alpha) p).

    It is at most -log alpha, however far apart the networks are. Source: Ko et al. (2024), "DistiLLM: Towards
    Streamlined Distillation for Large Language Models", section 3.1.

    Attributes:
        alpha: share in the mixture of the distribution whose divergence it is, in [0, 1); the paper takes 0.1.
        reverse: whether that is the student's.
    """

    alpha: float = 0.1
    reverse: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= check_number("alpha", self.alpha) < 1.0:
            raise InputError(f"alpha must lie in [0, 1), got {self.alpha:g}")
        if not isinstance(self.reverse, bool):
            raise InputError(f"reverse must be true or false, got {self.reverse!r}")

    def _divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        own, other = (log_q, log_p) if self.reverse else (log_p, log_q)
        return kl(own, _mixture(own, other, self.alpha))


def divergence_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperatures: Temperatures,
    divergence: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Any divergence of the softened distributions times the scale, per instance, [B], in nats.

    Args:
        student_logits: [B, C], raw; float16 and bfloat16 are computed in float32.
        teacher_logits: [B, C], raw.
        temperatures: of B instances.
        divergence: from the log-probabilities [B, C] of teacher and student to [B].

    Raises:
        InputError: for wrong shapes, unequal class counts, NaN or infinite logits, or temperatures of another batch.
    """
    check_logit_shapes(student_logits, teacher_logits)
    check_temperatures(temperatures, student_logits.shape[0])
    with without_autocast(student_logits):
        student_logits, teacher_logits = working_precision(student_logits, teacher_logits)
        temperatures = temperatures.to(student_logits.dtype)
        log_p = soften(teacher_logits, temperatures.teacher).log_softmax(1)
        log_q = soften(student_logits, temperatures.student).log_softmax(1)
        losses = temperatures.scale * divergence(log_p, log_q)
    name_bad_logits(losses, student_logits, teacher_logits)
    return losses


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) per instance, [B], in nats, of log-probabilities [B, C]."""
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _mixture(log_a: Tensor, log_b: Tensor, share: float) -> Tensor:
    """Log-probabilities [B, C] of share * a + (1 - share) * b."""
    if share == 0.0:
        return log_b
    return torch.logaddexp(log_a + math.log(share), log_b + math.log1p(-share))
