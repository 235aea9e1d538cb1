"""What an objective on features sees of a network, and what it is to a criterion."""

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
    """One network's forward pass on a batch.

    Attributes:
        logits: [B, C].
        vector: [B, D], the input of the last linear layer.
        maps: feature maps [B, Ch, H, W], the shallow ones first; empty where an objective needs none.

    Raises:
        InputError: for shapes that do not fit together.
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
        """The same values without their graph."""
        return Activations(self.logits.detach(), self.vector.detach(), tuple(value.detach() for value in self.maps))

    def float(self) -> Activations:
        """The same values in float32, or float64 where they are."""
        return Activations(_wide(self.logits), _wide(self.vector), tuple(_wide(value) for value in self.maps))


class FeatureObjective(nn.Module, ABC):
    """A loss between what two networks computed on the way to their logits.

    Side modules that learn (regressors, embeddings) are part of this module: hand its `parameters()` to the student's
    optimizer. Computed in float32 under autocast; no gradient reaches the teacher.

    Attributes:
        weight: what the paper multiplies it by, beside the cross-entropy.
    """

    weight: ClassVar[float]

    def forward(self, student: Activations, teacher: Activations, indices: Tensor | None = None) -> Tensor:
        """The loss, a scalar.

        Args:
            student: of B instances.
            teacher: of the same instances.
            indices: [B], which instances of the training data they are; only CRD needs it.

        Raises:
            InputError: for activations of another batch, NaN or infinite features, shapes the objective cannot match.
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
        """The loss itself, on checked float32 or float64 activations outside autocast."""


def check_maps(student: Activations, teacher: Activations, count: int) -> None:
    """Refuse activations without at least `count` feature maps."""
    for name, activations in (("student", student), ("teacher", teacher)):
        if len(activations.maps) < count:
            raise InputError(f"maps of the {name} must be at least {count}, got {len(activations.maps)}")


def _wide(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()
