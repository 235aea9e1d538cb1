"""What an agent's action means: the temperature of an instance, and the scale of its loss."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from rltemp.errors import InputError
from rltemp.temperatures import Temperatures, action_to_temperature

__all__ = ["HIGHEST", "LOWEST", "ActionMap"]

LOWEST, HIGHEST = 1e-3, 1e6
"""Limits of temperatures and scales: within them the loss and its gradient are far from overflow."""


@dataclasses.dataclass(frozen=True)
class ActionMap:
    """Maps the A numbers of an action, each in [-1, 1], to temperatures and scales on log scales.

    The first number is the temperature, which both networks share. The second, if there is one, is the scale. An action
    of zeros thus means the geometric middle of each range, where training begins.

    Attributes:
        low: temperature of action -1, in [1e-3, 1e6].
        high: temperature of action 1, in [1e-3, 1e6].
        scale: factor on the loss of every instance, in [1e-3, 1e6], where the action has no say in it; None for T * T.
        scale_range: scales of actions -1 and 1, each in [1e-3, 1e6], if the action chooses it; then `scale` is None.

    Raises:
        InputError: for numbers out of range, or a scale beside a range of scales.
    """

    low: float
    high: float
    scale: float | None = None
    scale_range: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not LOWEST <= self.low < self.high <= HIGHEST:
            raise InputError(
                f"the temperature range must satisfy {LOWEST:g} <= low < high <= {HIGHEST:g}, "
                f"got low={self.low:g}, high={self.high:g}"
            )
        if self.scale is not None and not LOWEST <= self.scale <= HIGHEST:
            raise InputError(f"scale must be None or lie in [{LOWEST:g}, {HIGHEST:g}], got {self.scale:g}")
        if self.scale_range is None:
            return
        if len(self.scale_range) != 2 or not LOWEST <= self.scale_range[0] < self.scale_range[1] <= HIGHEST:
            got = ", ".join(f"{value:g}" for value in self.scale_range)
            raise InputError(f"scale_range must be two numbers, {LOWEST:g} <= low < high <= {HIGHEST:g}, got {got}")
        if self.scale is not None:
            raise InputError(f"scale must be None beside a scale_range, got {self.scale:g}")

    @property
    def count(self) -> int:
        """Numbers A of an action, 1 or 2."""
        return 1 if self.scale_range is None else 2

    def temperatures(self, actions: Tensor) -> Temperatures:
        """Temperatures and scales of actions [B, A], which are clipped to [-1, 1]."""
        temperature = action_to_temperature(actions[:, 0], self.low, self.high)
        if self.scale_range is None:
            return Temperatures.shared(temperature, self.scale)
        return Temperatures(temperature, temperature, action_to_temperature(actions[:, 1], *self.scale_range[:2]))

    def describe_scale(self) -> str:
        """The scale in words: T², a number, or a range."""
        if self.scale_range is not None:
            return f"{self.scale_range[0]:g} to {self.scale_range[1]:g}"
        return "T²" if self.scale is None else f"{self.scale:g}"
