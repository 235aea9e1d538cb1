"""What a policy returns: the temperatures of each instance, and the scale of its loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from rltemp.checks import check_positive, check_vector
from rltemp.errors import InputError

__all__ = ["Temperatures", "action_to_temperature", "temperature_to_action"]


@dataclasses.dataclass(frozen=True)
class Temperatures:
    """Temperatures of a batch of B instances.

    Attributes:
        teacher: divides the teacher's logits; [B], > 0, finite.
        student: divides the student's logits; [B], > 0, finite.
        scale: multiplies the instance's loss; [B], > 0, finite. Hinton et al. (2015, section 2) take T * T, which keeps
            the size of the gradient about the same for every large T.
        label_weight: multiplies the instance's cross-entropy with its label, beside the weight that a method gives it;
            [B], > 0, finite. None for 1 throughout: most policies leave the labels as they are.

    Raises:
        InputError: for any other shape (above all [B, 1], which would broadcast a loss to [B, B]), integers, unequal
            devices, or values that are not > 0 and finite.
    """

    teacher: Tensor
    student: Tensor
    scale: Tensor
    label_weight: Tensor | None = None

    def __post_init__(self) -> None:
        check_vector("teacher temperature", self.teacher)
        check_positive("teacher temperature", self.teacher)
        others = ("student temperature", self.student), ("scale", self.scale), ("label weight", self.label_weight)
        for name, tensor in others:
            if tensor is not None and tensor is not self.teacher:
                check_vector(name, tensor, self.teacher.shape[0])
                if tensor.device != self.teacher.device:
                    raise InputError(f"{name} must be on {self.teacher.device}, as the teacher's, got {tensor.device}")
                check_positive(name, tensor)

    @classmethod
    def shared(cls, t: Tensor, scale: float | Tensor | None = None, label_weight: Tensor | None = None) -> Temperatures:
        """One temperature for both networks.

        Args:
            t: temperatures of teacher and student, [B], > 0.
            scale: factor on the loss of every instance, > 0, or of each, [B]; None for t * t.
            label_weight: as of `Temperatures`.

        Raises:
            InputError: for a tensor of another shape, or values that are not > 0 and finite.
        """
        check_vector("t", t)
        factor = t * t if scale is None else scale
        return cls(t, t, factor if isinstance(factor, Tensor) else torch.full_like(t, factor), label_weight)

    def __len__(self) -> int:
        """Number of instances B."""
        return self.teacher.shape[0]

    def to(self, dtype: torch.dtype) -> Temperatures:
        """These in another floating-point dtype."""
        if all(values.dtype == dtype for values in self.tensors):
            return self
        return self.map(lambda values: values.to(dtype))

    def detach(self) -> Temperatures:
        """These, detached from the autograd graph."""
        return self.map(Tensor.detach)

    def map(self, function: Callable[[Tensor], Tensor]) -> Temperatures:
        """What a function makes of each of them, a tensor [N]."""
        return Temperatures(*map(function, self.tensors))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Temperatures of teacher and student, scale, and label weight if there is one: [B] each."""
        three = self.teacher, self.student, self.scale
        return three if self.label_weight is None else (*three, self.label_weight)


def action_to_temperature(action: Tensor, low: float, high: float) -> Tensor:
    """Map actions [...] in [-1, 1] to temperatures on a log scale: T = low * (high / low) ** ((a + 1) / 2).

    Actions outside [-1, 1] are clipped.

    Raises:
        InputError: unless 0 < low < high < infinity.
    """
    _check_range(low, high)
    return low * (high / low) ** ((action.clamp(-1.0, 1.0) + 1.0) / 2.0)


def temperature_to_action(temperature: Tensor, low: float, high: float) -> Tensor:
    """Map temperatures [...] in [low, high] to actions in [-1, 1]: a = 2 log(T / low) / log(high / low) - 1.

    The inverse of `action_to_temperature`.

    Raises:
        InputError: unless 0 < low < high < infinity, or for temperatures that are not > 0 and finite.
    """
    _check_range(low, high)
    check_positive("temperature", temperature)
    return 2.0 * torch.log(temperature / low) / torch.log(torch.tensor(high / low)) - 1.0


def _check_range(low: float, high: float) -> None:
    if not 0.0 < low < high < float("inf"):
        raise InputError(f"the temperature range must satisfy 0 < low < high, got low={low:g}, high={high:g}")
