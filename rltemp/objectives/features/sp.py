"""Similarity-preserving distillation (Tung & Mori, ICCV 2019)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from rltemp.objectives.features.feature_objective import Activations, FeatureObjective, check_maps

__all__ = ["SP"]


class SP(FeatureObjective):
    """Difference of the instances' pairwise similarities in both networks: |G_t - G_s|_F^2 / B^2.

    G [B, B] is A A^T of the flattened last feature maps A [B, Ch H W], each row of G divided by its length. Source:
    Tung & Mori (2019), "Similarity-Preserving Knowledge Distillation", with the paper's weight gamma = 3000.
    """

    weight = 3000.0

    def compare(self, student: Activations, teacher: Activations, indices: Tensor | None) -> Tensor:
        """Mean squared difference, a scalar, of the two similarity matrices [B, B] of the last feature maps."""
        check_maps(student, teacher, 1)
        return F.mse_loss(_similarity(student.maps[-1]), _similarity(teacher.maps[-1]))


def _similarity(maps: Tensor) -> Tensor:
    rows = maps.flatten(1)
    return F.normalize(rows @ rows.T, dim=1)
