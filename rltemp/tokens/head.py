"""Logits of a language model that are not computed yet: hidden states, and the matrix that makes logits of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.errors import InputError

__all__ = ["Head", "Teacher", "chunks", "make_head", "precision_of", "two_heads"]

_ROWS, _LOGITS = 256, 1 << 22
"""Tokens at once by default, and logits of one network up to which there are more.

With fewer, adding up the gradient of the output matrix costs more than the matrix products.
"""


class Teacher(Protocol):
    """Whatever gives logits of the teacher a chunk at a time."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of what the logits come from."""

    def logits(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Logits of the tokens `rows`, [r, V], in `dtype`."""


@dataclasses.dataclass(frozen=True)
class Head:
    """The last layer of one network: logits = hidden @ weight^T + bias.

    Attributes:
        name: "student" or "teacher", for errors.
        hidden: [N, H]; N may be 0.
        weight: [V, H], V >= 2, on the device of `hidden`.
        bias: [V], or None.

    Raises:
        InputError: for other shapes, integers, or tensors of several devices.
    """

    name: str
    hidden: Tensor
    weight: Tensor
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        self._check("hidden", self.hidden, "[N, H]", self.hidden.ndim == 2)
        width = self.hidden.shape[-1]
        fits = self.weight.ndim == 2 and self.weight.shape[0] >= 2 and self.weight.shape[1] == width
        self._check("weight", self.weight, f"[V, {width}] with V >= 2", fits)
        if self.bias is not None:
            self._check("bias", self.bias, f"[{len(self.weight)}]", self.bias.shape == self.weight.shape[:1])

    def _check(self, part: str, tensor: Tensor, want: str, fits: bool) -> None:
        if not fits:
            raise InputError(f"{self.name}_{part} must have shape {want}, got {list(tensor.shape)}")
        if not tensor.is_floating_point():
            raise InputError(f"{self.name}_{part} must be floating point, got {tensor.dtype}")
        if tensor.device != self.hidden.device:
            raise InputError(
                f"{self.name}_{part} must be on {self.hidden.device}, as {self.name}_hidden, got {tensor.device}"
            )

    def __len__(self) -> int:
        """Number of tokens N."""
        return self.hidden.shape[0]

    @property
    def vocabulary(self) -> int:
        """Number of classes V."""
        return self.weight.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the last layer computes in: that of the hidden states, whatever its weight is kept in."""
        return self.hidden.dtype

    def in_one_dtype(self) -> Head:
        """The same layer with weight and bias in the dtype it computes in, as autocast makes them."""
        bias = None if self.bias is None else self.bias.to(self.dtype)
        return Head(self.name, self.hidden, self.weight.to(self.dtype), bias)

    def logits(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Logits of the tokens `rows`, [r, V], computed as the network would and then cast to `dtype`.

        The layer must be `in_one_dtype`.
        """
        return F.linear(self.hidden[rows], self.weight, self.bias).to(dtype)

    def detach(self) -> Head:
        """The same layer, detached from the autograd graph."""
        bias = None if self.bias is None else self.bias.detach()
        return Head(self.name, self.hidden.detach(), self.weight.detach(), bias)


def make_head(name: str, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Head:
    """The head of a network out of hidden states [..., H], weight [V, H] and bias [V] or None.

    Raises:
        InputError: for parts that do not fit together.
    """
    for part, tensor in (("hidden", hidden), ("weight", weight)):
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name}_{part} must be a tensor, got {type(tensor).__name__}")
    if hidden.ndim < 2:
        raise InputError(f"{name}_hidden must have shape [..., H], got {list(hidden.shape)}")
    return Head(name, hidden.flatten(0, -2), weight, bias)


def two_heads(
    student: tuple[Tensor, Tensor, Tensor | None], teacher: tuple[Tensor, Tensor, Tensor | None]
) -> tuple[Head, Head]:
    """The heads of student and teacher out of hidden states [..., H], weights and biases; the teacher's is detached.

    Raises:
        InputError: for heads that do not fit together: other tokens, vocabularies, or devices.
    """
    ours, theirs = make_head("student", *student), make_head("teacher", *teacher)
    if student[0].shape[:-1] != teacher[0].shape[:-1]:
        raise InputError(
            "student_hidden and teacher_hidden must have shapes [..., H] that agree in all but H, "
            f"got {list(student[0].shape)} and {list(teacher[0].shape)}"
        )
    if ours.vocabulary != theirs.vocabulary:
        raise InputError(
            "student_weight and teacher_weight must have the same vocabulary, "
            f"got {ours.vocabulary} and {theirs.vocabulary} rows"
        )
    if ours.hidden.device != theirs.hidden.device:
        raise InputError(
            "student_hidden and teacher_hidden must be on one device, "
            f"got {ours.hidden.device} and {theirs.hidden.device}"
        )
    return ours, theirs.detach().in_one_dtype()


def precision_of(*dtypes: torch.dtype) -> torch.dtype:
    """The dtype of losses and temperatures of networks of these dtypes: float64 if any is, and else float32."""
    return torch.float64 if torch.float64 in dtypes else torch.float32


def chunks(tokens: int, vocabulary: int, chunk: int | None) -> Iterator[slice]:
    """Slices of `chunk` of `tokens` rows each; by default 256, or as many as have 2^22 logits.

    Raises:
        InputError: for a chunk below 1.
    """
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise InputError(f"chunk must be a number of tokens >= 1, got {chunk!r}")
    rows = chunk or max(_ROWS, _LOGITS // vocabulary)
    return (slice(start, min(start + rows, tokens)) for start in range(0, tokens, rows))
