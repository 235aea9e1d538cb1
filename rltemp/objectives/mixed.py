"""Objectives that mix forward and reverse KL instance by instance: AKL, and a split by the teacher's entropy."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rltemp.checks import check_number
from rltemp.objectives.divergences import DivergenceObjective, kl

__all__ = ["AdaptiveKD", "EntropySplitKD"]


@dataclasses.dataclass(frozen=True)
class AdaptiveKD(DivergenceObjective):
    """Adaptive KL (AKL): g_head / (g_head + g_tail) KL(p || q) + g_tail / (g_head + g_tail) KL(q || p), per instance.

    The head are the teacher's most probable classes up to a mass, its first class always among them; g is the sum of
    |p - q| over head or tail, without gradient, and both weights are 1/2 where the networks agree. Softened
    probabilities stand for the paper's, which has no temperature. Source: Wu et al. (2025), "Rethinking
    Kullback-Leibler Divergence in Knowledge Distillation for Large Language Models".

    Attributes:
        mass: most probability of the head beyond its first class, in (0, 1]; the paper takes 0.5.
    """

    mass: float = 0.5

    def __post_init__(self) -> None:
        check_number("mass", self.mass, low=0.0, high=1.0, low_open=True)

    def _divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        forward = _head_share(log_p.detach().exp(), log_q.detach().exp(), self.mass)
        return forward * kl(log_p, log_q) + (1.0 - forward) * kl(log_q, log_p)


@dataclasses.dataclass(frozen=True)
class EntropySplitKD(DivergenceObjective):
    """KL(q || p), and KL(p || q) added to it where the entropy of p, the softened teacher, is above a threshold.

    Source of the idea: Jin et al. (2026), "Entropy-Aware On-Policy Distillation of Language Models"; the threshold
    depends on vocabulary and temperature, and is the user's to choose.

    Attributes:
        threshold: in nats, >= 0.
    """

    threshold: float

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, low=0.0)

    def _divergence(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        entropy = -(log_p.detach().exp() * log_p.detach()).sum(1)
        return kl(log_q, log_p) + torch.where(entropy > self.threshold, kl(log_p, log_q), 0.0)


def _head_share(p: Tensor, q: Tensor, mass: float) -> Tensor:
    """The head's share, [B], of the distance between probabilities [B, C]; 1/2 where there is none."""
    ordered, order = p.sort(dim=1, descending=True)
    gaps = (ordered - q.gather(1, order)).abs()
    in_head = ordered.cumsum(1) <= mass
    # Its first class alone may hold more than the mass.
    in_head = torch.cat((torch.ones_like(in_head[:, :1]), in_head[:, 1:]), dim=1)
    head, whole = torch.where(in_head, gaps, 0.0).sum(1), gaps.sum(1)
    return torch.where(whole > 0.0, head / whole.clamp(min=torch.finfo(whole.dtype).tiny), 0.5)
