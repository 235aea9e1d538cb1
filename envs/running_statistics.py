"""The part of a run's end that went through the running statistics of batch normalization.

The last loss is measured in evaluation mode, where a layer gives y = w (x - mean) / s + b with s^2 = variance + eps, so
that its gradient by the statistics follows from the one by weight and bias:

    dL / dmean = -(w / s) dL / db,    dL / dvariance = -(w / 2 s^2) dL / dw
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn

from rltemp.distillation.normalization import Moments, Normalization
from rltemp.distillation.students import Students
from rltemp.errors import InputError

__all__ = ["FixedBuffers", "StatisticsAdjoint"]


class FixedBuffers:
    """The buffers that training must leave as they are: all but those of batch normalization.

    Args:
        students: at the start of a run.
    """

    def __init__(self, students: Students) -> None:
        moving = {
            id(buffer) for layer in students.normalizations() for buffer in (layer.mean, layer.variance, layer.batches)
        }
        self._kept = {name: buffer.clone() for name, buffer in students.named_buffers() if id(buffer) not in moving}

    def check(self, students: Students) -> None:
        """Whether they are.

        Raises:
            InputError: with the name of one that has changed.
        """
        for name, kept in self._kept.items():
            if not torch.equal(students.get_buffer(name), kept):
                raise InputError(
                    f"credit in hindsight needs networks without state but batch normalization's, {name!r} changes"
                )


class StatisticsAdjoint:
    """Gradient of the last loss by all running statistics, moved backwards from update to update.

    Args:
        students: after the last update.
        gradient: of the loss by each of their parameters.
    """

    def __init__(self, students: Students, gradient: Sequence[Tensor]) -> None:
        by_parameter = dict(zip(map(id, students.parameters()), gradient, strict=True))
        self._layers = [_Layer.of(layer, by_parameter) for layer in students.normalizations()]

    @staticmethod
    def check(students: Students) -> None:
        """Whether the statistics can be followed backwards.

        Raises:
            InputError: for a layer without weight and bias of its own, or one that shares its batches' statistics.
        """
        for layer in students.normalizations():
            if layer.weight is None or layer.bias is None:
                raise InputError(
                    "credit in hindsight needs batch normalization with a weight and a bias of its own, "
                    f"{layer.name!r} lacks one"
                )
            if (
                isinstance(layer.layer, nn.SyncBatchNorm)
                and distributed.is_available()
                and distributed.is_initialized()
            ):
                raise InputError(
                    f"credit in hindsight needs batch statistics of one process, {layer.name!r} shares them with others"
                )

    def step_back(self, moments: Sequence[Sequence[Moments]]) -> Tensor | float:
        """Go behind one update.

        Args:
            moments: that each layer took in its forward, call by call.

        Returns:
            What they weigh in the last loss: its gradient by the parameters is the statistics' share of theirs.
        """
        weighed: Tensor | float = 0.0
        for layer, calls in zip(self._layers, moments, strict=True):
            for call in reversed(calls):
                weighed = weighed + layer.step_back(call)
        return weighed


@dataclasses.dataclass
class _Layer:
    """One layer: its momentum (None: a cumulative average), its batches, the loss's gradient by its statistics."""

    momentum: float | None
    batches: Tensor
    by_mean: Tensor
    by_variance: Tensor

    @classmethod
    def of(cls, layer: Normalization, by_parameter: dict[int, Tensor]) -> _Layer:
        """A layer after the last update, and the loss's gradient by the parameters of these ids."""
        assert layer.weight is not None
        spread = (layer.variance + layer.layer.eps).sqrt()
        slope = layer.weight.detach() / spread
        by_mean = -slope * by_parameter[id(layer.bias)]
        by_variance = -slope / (2.0 * spread) * by_parameter[id(layer.weight)]
        return cls(layer.layer.momentum, layer.batches, by_mean, by_variance)

    def step_back(self, moments: Moments) -> Tensor:
        """What the moments of one batch weigh in the loss; then the gradient is the one before that batch."""
        share = 1.0 / float(self.batches) if self.momentum is None else self.momentum
        weighed = share * ((moments.mean * self.by_mean).sum() + (moments.variance * self.by_variance).sum())
        self.by_mean, self.by_variance = (1.0 - share) * self.by_mean, (1.0 - share) * self.by_variance
        self.batches = self.batches - 1
        return weighed
