"""The base class of objectives on features, and the activations they compare."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from rltemp.checks import check_finite
from rltemp.errors import InputError
from rltemp.precision import without_autocast

__all__ = ["Activations", "FeatureObjective", "check_maps"]


@dataclasses.dataclass(frozen=True)
class Activations:
    """Outputs of one network's forward pass on a batch.

    Attributes:
        logits: [B, C].
        vector: [B, D], the input of the last linear layer.
        maps: feature maps, each [B, Ch, H, W], from shallow to deep layers; may be empty if the objective uses none.

    Raises:
        InputError: for shapes or dtypes that do not fit together.
    """

    logits: Tensor
    vector: Tensor
    maps: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        batch = len(self.logits)
        for name, value, ndim in (("logits", self.logits, 2), ("vector", self.vector, 2), *self._named_maps()):
            if value.ndim != ndim or len(value) != batch or not value.is_floating_point():
                want = "floating point of " + ("[B, ...] with 2" if ndim == 2 else "[B, Ch, H, W] with 4")
                raise InputError(
                    f"{name} must be {want} dimensions, B = {batch} as in logits, got {value.dtype} {list(value.shape)}"
                )

    def _named_maps(self) -> list[tuple[str, Tensor, int]]:
        return [(f"maps[{i}]", value, 4) for i, value in enumerate(self.maps)]

    def detach(self) -> Activations:
        """These activations, detached from the autograd graph."""
        return Activations(self.logits.detach(), self.vector.detach(), tuple(value.detach() for value in self.maps))

    def float(self) -> Activations:
        """These activations in float32; float64 tensors stay float64."""
        return Activations(_wide(self.logits), _wide(self.vector), tuple(_wide(value) for value in self.maps))


class FeatureObjective(nn.Module, ABC):
    """A loss between activations of student and teacher before their logits.

    Trainable side modules (regressors, embeddings) are part of this module: pass `parameters()` to the student's
    optimizer. The loss is computed in float32 even under autocast; no gradient reaches the teacher.

    Attributes:
        weight: factor on the loss in its paper, beside the cross-entropy.
    """

    weight: ClassVar[float]

    def forward(self, student: Activations, teacher: Activations, indices: Tensor | None = None) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            student: activations of B instances.
            teacher: activations of the same instances.
            indices: [B] positions of the instances in the training data; only CRD needs them.

        Raises:
            InputError: for activations of unequal batches, NaN or infinite features, or shapes the objective cannot
                compare.
        """
        if len(student.logits) != len(teacher.logits):
            raise InputError(
                f"student and teacher must be of one batch, got {len(student.logits)} and {len(teacher.logits)}"
            )
        for name, activations in (("student", student), ("teacher", teacher)):
            for value in (activations.vector, *activations.maps):
                check_finite(f"features of the {name}", value)
        with without_autocast(student.vector):
            return self.compare(student.float(), teacher.detach().float(), indices)

    @abstractmethod
    def compare(self, student: Activations, teacher: Activations, indices: Tensor | None) -> Tensor:
        """Compute the loss, a scalar, from checked float32 or float64 activations; the teacher's have no graph."""


def check_maps(student: Activations, teacher: Activations, count: int) -> None:
    """Raise `InputError` unless both networks' activations have at least `count` feature maps."""
    for name, activations in (("student", student), ("teacher", teacher)):
        if len(activations.maps) < count:
            raise InputError(f"maps of the {name} must be at least {count}, got {len(activations.maps)}")


def _wide(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()
