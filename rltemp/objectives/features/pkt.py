"""Probabilistic knowledge transfer (Passalis & Tefas, ECCV 2018)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from rltemp.objectives.features.feature_objective import Activations, FeatureObjective

__all__ = ["PKT"]

_EPS = 1e-7


class PKT(FeatureObjective):
    """Divergence between the neighborhoods of a batch in both networks: mean over i, j of p_ij log(p_ij / q_ij).

    With s_ij the cosine similarity of the vectors of instances i and j, p_ij = (1 + s_ij) / sum_k (1 + s_ik) for the
    teacher's vectors, and q_ij the same for the student's; 1e-7 is added to both inside the logarithm. The mean is over
    all B^2 pairs, hence the large weight. Source: Passalis & Tefas (2018), "Learning Deep Representations with
    Probabilistic Knowledge Transfer"; weight as in Tian et al. (2020).
    """

    weight = 30_000.0

    def compare(self, student: Activations, teacher: Activations, indices: Tensor | None) -> Tensor:
        """Divergence, a scalar, between the neighborhoods of the teacher's and the student's vectors [B, D]."""
        p, q = _neighborhood(teacher.vector), _neighborhood(student.vector)
        return (p * ((p + _EPS) / (q + _EPS)).log()).mean()


def _neighborhood(vectors: Tensor) -> Tensor:
    directions = F.normalize(vectors, dim=1)
    closeness = (directions @ directions.T + 1.0) / 2.0
    return closeness / closeness.sum(1, keepdim=True)
