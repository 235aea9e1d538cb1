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

    The first number is the temperature, which both networks share. The scale follows, and then the weight of the label,
    where the action chooses them. An action of zeros thus means the geometric middle of each range, where training
    begins.

    Attributes:
        low: temperature of action -1, in [1e-3, 1e6].
        high: temperature of action 1, in [1e-3, 1e6].
        scale: factor on the loss of every instance, in [1e-3, 1e6], where the action has no say in it; None for T * T.
        scale_range: scales of actions -1 and 1, each in [1e-3, 1e6], if the action chooses it; then `scale` is None.
        label_range: likewise factors on the cross-entropy with the label, if the action chooses them.

    Raises:
        InputError: for numbers out of range, or a scale beside a range of scales.
    """

    low: float
    high: float
    scale: float | None = None
    scale_range: tuple[float, ...] | None = None
    label_range: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not LOWEST <= self.low < self.high <= HIGHEST:
            raise InputError(
                f"the temperature range must satisfy {LOWEST:g} <= low < high <= {HIGHEST:g}, "
                f"got low={self.low:g}, high={self.high:g}"
            )
        if self.scale is not None and not LOWEST <= self.scale <= HIGHEST:
            raise InputError(f"scale must be None or lie in [{LOWEST:g}, {HIGHEST:g}], got {self.scale:g}")
        for name, limits in (("scale_range", self.scale_range), ("label_range", self.label_range)):
            if limits is not None and (len(limits) != 2 or not LOWEST <= limits[0] < limits[1] <= HIGHEST):
                got = ", ".join(f"{value:g}" for value in limits)
                raise InputError(f"{name} must be two numbers, {LOWEST:g} <= low < high <= {HIGHEST:g}, got {got}")
        if self.scale is not None and self.scale_range is not None:
            raise InputError(f"scale must be None beside a scale_range, got {self.scale:g}")

    @property
    def count(self) -> int:
        """Numbers A of an action, 1 to 3."""
        return 1 + (self.scale_range is not None) + (self.label_range is not None)

    def temperatures(self, actions: Tensor) -> Temperatures:
        """Temperatures and scales of actions [B, A], which are clipped to [-1, 1]."""
        numbers = iter(actions.unbind(1))
        temperature = action_to_temperature(next(numbers), self.low, self.high)
        scale: float | Tensor | None = self.scale
        if self.scale_range is not None:
            scale = action_to_temperature(next(numbers), *self.scale_range[:2])
        if self.label_range is None:
            return Temperatures.shared(temperature, scale)
        return Temperatures.shared(temperature, scale, action_to_temperature(next(numbers), *self.label_range[:2]))

    def named(self) -> dict[str, object]:
        """All that makes two of them alike, by what people call it."""
        return {
            "range of temperatures": (self.low, self.high),
            "scale": self.scale,
            "range of scales": self.scale_range,
            "range of the labels' weights": self.label_range,
        }

    def describe_scale(self) -> str:
        """The scale in words: T², a number, or a range."""
        if self.scale_range is not None:
            return f"{self.scale_range[0]:g} to {self.scale_range[1]:g}"
        return "T²" if self.scale is None else f"{self.scale:g}"

    def describe_labels(self) -> str:
        """What goes on about the labels where the scale was said; empty where the action has no say in them."""
        if self.label_range is None:
            return ""
        return f", that of the labels by {self.label_range[0]:g} to {self.label_range[1]:g}"
