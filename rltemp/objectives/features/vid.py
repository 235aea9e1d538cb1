"""Variational information distillation (Ahn et al., CVPR 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rltemp.errors import InputError
from rltemp.objectives.features.feature_objective import Activations, FeatureObjective, check_maps
from rltemp.objectives.features.side_modules import convolution

__all__ = ["VID"]

_SMALLEST_VARIANCE = 1e-5
_FIRST_VARIANCE = 5.0


class VID(FeatureObjective):
    """Gaussian prediction of the teacher's maps t from the student's maps s, sum over layers.

    A layer's loss is mean (t - mu(s))^2 / (2 v) + log(v) / 2, the negative log-likelihood of a Gaussian without its
    constant. Its mean mu is a network of three 1 x 1 convolutions; its variance v = softplus(a) + 1e-5 is learned per
    channel of the teacher, and starts at 5. The larger map of a pair is pooled to the size of the smaller. Source: Ahn
    et al. (2019), "Variational Information Distillation for Knowledge Transfer"; weight as in Tian et al. (2020).

    Args:
        student_channels: channels of each of the student's maps.
        teacher_channels: channels of each of the teacher's maps, of the same layers.
        generator: draws the initial weights; a new one, seeded with 0, if None.

    Raises:
        InputError: without maps, or for unequal numbers of maps.
    """

    weight = 1.0

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not student_channels or len(student_channels) != len(teacher_channels):
            raise InputError(
                "student_channels and teacher_channels must be of the same layers, at least one, "
                f"got {list(student_channels)} and {list(teacher_channels)}"
            )
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.regressors = nn.ModuleList(
            nn.Sequential(
                convolution(narrow, wide, generator),
                nn.ReLU(),
                convolution(wide, wide, generator),
                nn.ReLU(),
                convolution(wide, wide, generator),
            )
            for narrow, wide in zip(student_channels, teacher_channels, strict=True)
        )
        start = math.log(math.expm1(_FIRST_VARIANCE - _SMALLEST_VARIANCE))
        self.scales = nn.ParameterList(torch.full((channels,), start) for channels in teacher_channels)

    def compare(self, student: Activations, teacher: Activations, indices: Tensor | None) -> Tensor:
        """Sum over the layers, a scalar, of the Gaussian negative log-likelihoods of the teacher's maps."""
        check_maps(student, teacher, len(self.regressors))
        layers = zip(self.regressors, self.scales, student.maps, teacher.maps, strict=False)
        return torch.stack([_surprise(*layer) for layer in layers]).sum()


def _surprise(regressor: nn.Module, scale: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    student, teacher = F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)
    variance = (F.softplus(scale) + _SMALLEST_VARIANCE)[:, None, None]
    error: Tensor = teacher - regressor(student)
    return 0.5 * (error.square() / variance + variance.log()).mean()
