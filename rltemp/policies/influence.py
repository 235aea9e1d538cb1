"""The greedy reference of this project: the temperature that lowers a probe's loss most at the next update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.checks import check_number
from rltemp.errors import InputError
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures
from rltemp.transfer import filled

__all__ = ["InfluencePolicy"]


class InfluencePolicy(TemperaturePolicy):
    """Per instance, the temperature whose distillation gradient lowers a probe's loss most, to first order; scale T^2.

    Needs the alignment [B, A] of `ProbeAlignment`: column a is the first-order effect of distilling the instance at
    temperature a, positive where it lowers the loss of the probe. The choice ignores later updates, but is hard to beat
    on a short run. Source: this project.

    Args:
        temperatures: the A temperatures of the alignment's columns, each > 0.
        default: T, > 0, of an instance to which every temperature has the same effect.
    """

    needs = frozenset({"alignment"})

    def __init__(self, temperatures: Sequence[float] = ALIGNMENT_TEMPERATURES, default: float = 4.0) -> None:
        super().__init__()
        if isinstance(temperatures, (str, float, int)) or len(temperatures) < 1:
            raise InputError(f"temperatures must be a sequence of numbers > 0, got {temperatures!r}")
        self.temperatures = tuple(check_number("temperatures", t, low=0.0, low_open=True) for t in temperatures)
        self.default = check_number("default", default, low=0.0, low_open=True)

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """The temperature of the largest of the A columns, for each of B instances.

        Raises:
            InputError: for an alignment without one column per temperature.
        """
        if alignment is None or alignment.shape[1] != len(self.temperatures):
            got = None if alignment is None else list(alignment.shape)
            raise InputError(f"alignment must have shape [B, {len(self.temperatures)}], one per temperature, got {got}")
        grid = filled(self.temperatures, teacher_logits.dtype, teacher_logits.device)
        best = grid[alignment.argmax(1)]
        indifferent = alignment.amax(1) == alignment.amin(1)
        return Temperatures.shared(torch.where(indifferent, self.default, best))
