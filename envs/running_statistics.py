"""Running statistics of batch normalization in the backward pass through a run (this project's derivation).

The last loss is measured in evaluation mode, where a layer computes y = w (x - mean) / s + b with s^2 = variance + eps.
Its gradient with respect to the statistics therefore follows from the gradients with respect to w and b:

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
    """The buffers that must not change during a run: all except the running statistics of batch normalization.

    Args:
        students: at the start of a run.
    """

    def __init__(self, students: Students) -> None:
        moving = {
            id(buffer) for layer in students.normalizations() for buffer in (layer.mean, layer.variance, layer.batches)
        }
        self._kept = {name: buffer.clone() for name, buffer in students.named_buffers() if id(buffer) not in moving}

    def check(self, students: Students) -> None:
        """Raise `InputError`, naming the buffer, if one of the students' fixed buffers has changed."""
        for name, kept in self._kept.items():
            if not torch.equal(students.get_buffer(name), kept):
                raise InputError(
                    f"credit in hindsight needs networks without state but batch normalization's, {name!r} changes"
                )


class StatisticsAdjoint:
    """Gradient of the last loss with respect to all running statistics, moved backwards from update to update.

    Args:
        students: after the last update.
        gradient: of the loss with respect to the students' parameters, one tensor for each.
    """

    def __init__(self, students: Students, gradient: Sequence[Tensor]) -> None:
        by_parameter = dict(zip(map(id, students.parameters()), gradient, strict=True))
        self._layers = [_Layer.of(layer, by_parameter) for layer in students.normalizations()]

    @staticmethod
    def check(students: Students) -> None:
        """Raise `InputError` for a normalization layer that the backward pass does not support.

        Raises:
            InputError: for a layer without weight or bias, or one that shares its batch statistics among processes.
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
        """Move the gradient to before one update.

        Args:
            moments: batch moments of each layer in the update's forward pass, call by call, with their graph.

        Returns:
            A scalar: the sum of the moments weighted by their effect on the last loss. Its gradient with respect to the
            parameters is what the statistics add to the adjoint; 0.0 without layers.
        """
        weighed: Tensor | float = 0.0
        for layer, calls in zip(self._layers, moments, strict=True):
            layer.calls = len(calls)
            for call in reversed(calls):
                weighed = weighed + layer.step_back(call)
        return weighed

    def pass_over(self) -> None:
        """Move the gradient to before one update whose moments count as constant.

        An update whose moments are known must have been stepped back before, since it says how often layers are called.
        """
        for layer in self._layers:
            for _ in range(layer.calls):
                layer.pass_over()


@dataclasses.dataclass
class _Layer:
    """One layer during the backward pass.

    Attributes:
        momentum: of the running statistics; None for a cumulative average.
        batches: number of batches seen so far.
        by_mean: gradient of the loss with respect to the running mean, [C] or [K, C].
        by_variance: gradient of the loss with respect to the running variance, [C] or [K, C].
        calls: of the layer in one update.
    """

    momentum: float | None
    batches: Tensor
    by_mean: Tensor
    by_variance: Tensor
    calls: int = 0

    @classmethod
    def of(cls, layer: Normalization, by_parameter: dict[int, Tensor]) -> _Layer:
        """The state of a layer after the last update.

        Args:
            layer: the layer, with its current running statistics.
            by_parameter: gradient of the loss by the `id` of each parameter.
        """
        assert layer.weight is not None
        spread = (layer.variance + layer.layer.eps).sqrt()
        slope = layer.weight.detach() / spread
        by_mean = -slope * by_parameter[id(layer.bias)]
        by_variance = -slope / (2.0 * spread) * by_parameter[id(layer.weight)]
        return cls(layer.layer.momentum, layer.batches, by_mean, by_variance)

    def step_back(self, moments: Moments) -> Tensor:
        """The effect of one batch's moments on the loss, a scalar; moves the gradients to before that batch."""
        by_mean, by_variance = self.by_mean, self.by_variance
        return self.pass_over() * ((moments.mean * by_mean).sum() + (moments.variance * by_variance).sum())

    def pass_over(self) -> float:
        """Move the gradients to before one batch; returns the share by which it moved the statistics."""
        share = 1.0 / float(self.batches) if self.momentum is None else self.momentum
        self.by_mean, self.by_variance = (1.0 - share) * self.by_mean, (1.0 - share) * self.by_variance
        self.batches = self.batches - 1
        return share
