"""Controls: policies that a learned one must beat to show that it learned more than jitter or a schedule."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rltemp.checks import check_number
from rltemp.errors import InputError
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures, action_to_temperature
from rltemp.transfer import progress_tensor, to_device

__all__ = ["AnnealPolicy", "RandomPolicy"]


class RandomPolicy(TemperaturePolicy):
    """A temperature drawn per instance and step, log-uniform in [low, high]; scale T^2.

    The state of the generator is part of `state_dict()`. Under `torch.func.vmap`, with `randomness="different"`, all
    mapped copies draw from one generator.

    Args:
        low: smallest temperature, > 0.
        high: largest temperature, > low.
        generator: draws the temperatures; a new one, seeded with 0, if None.
    """

    generator: torch.Generator

    def __init__(self, low: float = 0.5, high: float = 32.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.low = check_number("low", low, low=0.0, low_open=True)
        self.high = check_number("high", high, low=self.low, low_open=True)
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """Draw a temperature for each of B instances; the logits give only B, dtype, and device."""
        draws = torch.rand(teacher_logits.shape[0], generator=self.generator, device=self.generator.device)
        actions = 2.0 * to_device(draws, teacher_logits.device).to(teacher_logits.dtype) - 1.0
        return Temperatures.shared(action_to_temperature(actions, self.low, self.high))

    def get_extra_state(self) -> Tensor:
        """State of the generator, for `state_dict()`."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the generator from a state that `get_extra_state()` returned."""
        self.generator.set_state(state)


class AnnealPolicy(TemperaturePolicy):
    """One temperature for all instances that moves from `start` to `end` over the run.

    Log-linear: T = start (end / start)^progress. Cosine: T = end + (start - end) (1 + cos(pi progress)) / 2. Compare
    Jafari et al. (2021), "Annealing Knowledge Distillation", who anneal the teacher alone.

    Args:
        start: T at progress 0, > 0.
        end: T at progress 1, > 0.
        shape: "log-linear" or "cosine".
        scale: factor on the loss, > 0; None for T^2. With a constant scale the loss has more weight the lower T is;
            with T^2 it has less.
    """

    def __init__(
        self, start: float = 16.0, end: float = 1.0, shape: str = "log-linear", scale: float | None = None
    ) -> None:
        super().__init__()
        self.start = check_number("start", start, low=0.0, low_open=True)
        self.end = check_number("end", end, low=0.0, low_open=True)
        if shape not in ("log-linear", "cosine"):
            raise InputError(f"shape must be 'log-linear' or 'cosine', got {shape!r}")
        self.shape = shape
        self.scale = None if scale is None else check_number("scale", scale, low=0.0, low_open=True)

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """The schedule's temperature at `progress`, in [0, 1], for each of B instances."""
        progress = progress_tensor(progress, teacher_logits)
        if self.shape == "log-linear":
            temperature = self.start * (self.end / self.start) ** progress
        else:
            temperature = self.end + (self.start - self.end) * (1.0 + torch.cos(math.pi * progress)) / 2.0
        return Temperatures.shared(temperature.expand(teacher_logits.shape[0]), self.scale)
