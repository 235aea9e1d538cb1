"""Steps of a policy's weights that move its actions alike in every direction of the features that it meets."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rltemp.features import center

__all__ = ["Basis", "FeatureMoments"]

_PRIOR = 10.0
"""Rollouts for which features that are independent, of mean 0 and variance 1, count: the first one knows nothing."""

_RIDGE = 0.1
"""Added to every variance, so that a direction in which features hardly vary is moved three times as far at most."""

_ROWS = 1 << 18
"""Observations that are taken in at once."""


class Basis(NamedTuple):
    """Whitened features z = A (f - m) of centered ones f.

    Attributes:
        scale: A, symmetric, [F, F].
        mean: m, [F].
    """

    scale: Tensor
    mean: Tensor

    @classmethod
    def plain(cls, features: int) -> Basis:
        """That of F features as they are."""
        return cls(torch.eye(features), torch.zeros(features))

    def weights(self, vectors: Tensor, outputs: int) -> Tensor:
        """What steps V z + c of a first layer are in its own weights and biases, V A and c - V A m.

        Args:
            vectors: [N, D] of V [outputs, F], c [outputs] and all other layers' weights, flattened.
            outputs: of the layer.

        Returns:
            [N, D], other layers as they were.
        """
        count = outputs * len(self.mean)
        weight, bias, others = vectors.split([count, outputs, vectors.shape[1] - count - outputs], dim=1)
        weight = weight.unflatten(1, (outputs, -1)) @ self.scale
        return torch.cat((weight.flatten(1), bias - weight @ self.mean, others), dim=1)


class FeatureMoments:
    """How the features vary together that a policy has met, whose rollouts all count alike.

    A weight's step moves actions as far as its feature varies, and features of one batch vary together. Without
    whitening most steps are the bias's under other names, and what tells tasks apart is learned last.

    Args:
        features: F.
    """

    def __init__(self, features: int) -> None:
        self.sums = torch.zeros(features + 1, features + 1, dtype=torch.float64)
        """Second moments of (f, 1), summed over rollouts, [F + 1, F + 1]."""

    def note(self, observations: Tensor, steps: int) -> None:
        """Take in one of the `steps` of a rollout, observations [N, F] in [0, 1]."""
        centered = center(observations).double()
        met = torch.cat((centered, torch.ones_like(centered[:, :1])), dim=1)
        self.sums += met.T @ met / len(met) / steps

    def note_rollout(self, observations: Tensor) -> None:
        """Take in a whole rollout at once, observations [N, F] in [0, 1]."""
        # In parts, since a long run's would not fit in float64.
        parts = observations.tensor_split(math.ceil(len(observations) / _ROWS))
        for part in parts:
            self.note(part, len(parts))

    def basis(self) -> Basis:
        """That in which the features met so far are white, but for the ridge."""
        rollouts = float(self.sums[-1, -1]) + _PRIOR
        mean = self.sums[:-1, -1] / rollouts
        prior = _PRIOR * torch.eye(len(mean), dtype=torch.float64)
        covariance = (self.sums[:-1, :-1] + prior) / rollouts - torch.outer(mean, mean)
        variances, directions = torch.linalg.eigh(covariance)
        scale = directions @ torch.diag((variances + _RIDGE).rsqrt()) @ directions.T
        return Basis(scale.float(), mean.float())
