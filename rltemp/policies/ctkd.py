"""Curriculum temperature (Li et al., AAAI 2023): gradient reversal trains the temperature to raise the loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from rltemp.checks import check_number
from rltemp.errors import InputError
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures

__all__ = ["CTKDInstancePolicy", "CTKDPolicy"]

_RAMP = 10 / 240
"""Share of the run over which the gradient reversal fades in: 10 of the paper's 240 epochs."""


class CTKDPolicy(TemperaturePolicy):
    """One learned temperature for all instances: T = 1 + 20 sigmoid(g), scale T^2.

    The parameter g starts at 1, that is at T = 15.621. The student's own optimizer trains g to *raise* the loss: the
    gradient of g is multiplied by lambda(progress), which falls from 0 to -1 over the ramp by a cosine and stays there.
    Source: Li et al. (2023), "Curriculum Temperature for Knowledge Distillation", global version.

    Args:
        ramp: share of the run, in [0, 1], over which lambda reaches -1.
    """

    def __init__(self, ramp: float = _RAMP) -> None:
        super().__init__()
        self.ramp = check_number("ramp", ramp, low=0.0, high=1.0)
        self.logit = nn.Parameter(torch.ones(()))

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """The learned temperature for each of B instances, with gradient reversed by lambda(progress)."""
        logit = self.logit.to(teacher_logits).expand(teacher_logits.shape[0])
        return Temperatures.shared(_curriculum_temperature(logit, progress, self.ramp))


class CTKDInstancePolicy(TemperaturePolicy):
    """A learned temperature per instance: T = 1 + 20 sigmoid(MLP(teacher's and student's probabilities)), scale T^2.

    The student's own optimizer trains the MLP to *raise* the loss, as its gradient is multiplied by lambda(progress),
    which falls from 0 to -1 over the ramp. No gradient passes on to the student's logits, which would teach the student
    to raise its own loss. Source: Li et al. (2023), "Curriculum Temperature for Knowledge Distillation", instance-wise
    version; the hidden width is not published.

    Args:
        ramp: share of the run, in [0, 1], over which lambda reaches -1.
        hidden: width of the hidden layer, >= 1.
        classes: number of classes C, >= 2; if None, the first batch decides the width of the first layer.
        generator: draws the initial weights; a new one, seeded with 0, if None.
    """

    def __init__(
        self,
        ramp: float = _RAMP,
        hidden: int = 128,
        classes: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.ramp = check_number("ramp", ramp, low=0.0, high=1.0)
        for name, value, low in (("hidden", hidden, 1), ("classes", classes, 2)):
            if value is not None and (not isinstance(value, int) or value < low):
                raise InputError(f"{name} must be an integer >= {low}, got {value!r}")
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        last = skip_init(nn.Linear, hidden, 1)
        if classes is None:
            first: nn.Linear = _LazyLinear(hidden, generator)
        else:
            first = skip_init(nn.Linear, 2 * classes, hidden)
            _draw(first, generator)
        _draw(last, generator)
        nn.init.ones_(last.bias)  # T starts near 15.621, as in the global version.
        self.network = nn.Sequential(first, nn.ReLU(), last)

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """Temperatures of B instances from the probabilities [B, 2C] of both networks, with reversed gradient."""
        probabilities = torch.cat((teacher_logits.detach().softmax(1), student_logits.detach().softmax(1)), dim=1)
        dtype = next(reversed(list(self.network.parameters()))).dtype
        logits = self.network(probabilities.to(dtype))[:, 0]
        return Temperatures.shared(_curriculum_temperature(logits.to(teacher_logits.dtype), progress, self.ramp))


class _LazyLinear(nn.LazyLinear):
    """A linear layer that draws its weights from a generator once its first input fixes their shape."""

    def __init__(self, out_features: int, generator: torch.Generator) -> None:
        super().__init__(out_features)
        self._generator = generator

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_features > 0:
            _draw(self, self._generator)


def _draw(layer: nn.Linear, generator: torch.Generator) -> None:
    """Initialize uniformly in +-1/sqrt(inputs), PyTorch's default for `nn.Linear`, from a generator."""
    bound = layer.in_features**-0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator)


def _curriculum_temperature(logits: Tensor, progress: float | Tensor, ramp: float) -> Tensor:
    """1 + 20 sigmoid(logits), with the gradient that reaches `logits` [B] multiplied by lambda(progress)."""
    # Interpolation between the same values keeps them, and multiplies the gradient of its end point by the weight.
    turned = torch.lerp(logits.detach(), logits, _reversal(progress, ramp, logits))
    return torch.sigmoid(turned).mul(20.0).add(1.0)


def _reversal(progress: float | Tensor, ramp: float, like: Tensor) -> float | Tensor:
    """lambda(progress) = -(1 - cos(pi min(progress, ramp) / ramp)) / 2: from 0 to -1 over the ramp, then -1."""
    if ramp == 0.0:
        return -1.0
    if isinstance(progress, Tensor):
        return (torch.cos(math.pi * (progress.to(like) / ramp).clamp(max=1.0)) - 1.0) / 2.0
    return (math.cos(math.pi * min(progress / ramp, 1.0)) - 1.0) / 2.0
