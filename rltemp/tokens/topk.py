"""What a server tells of a teacher: the log-probabilities of its k most probable classes, token by token."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from rltemp.checks import check_finite, values_are_readable
from rltemp.errors import InputError

__all__ = ["TopK"]


@dataclasses.dataclass(frozen=True)
class TopK:
    """The k most probable of V classes for each of N tokens, at temperature 1; N may be 0.

    What is not among them is the *rest*: 1 minus the sum of their probabilities, spread over V - k classes none of
    which is more probable than the k-th.

    Attributes:
        log_probabilities: [N, k], floating point, finite, in nats, in any order.
        indices: [N, k], integer, the classes that they are of, each once per token.
        vocabulary: V, >= 2.

    Raises:
        InputError: for other shapes, k > V, classes outside [0, V) or given twice, or rows whose probabilities add up
            to more than 1 beyond the rounding of their dtype: logits, or log-probabilities of another temperature.
    """

    log_probabilities: Tensor
    indices: Tensor
    vocabulary: int

    def __post_init__(self) -> None:
        if isinstance(self.vocabulary, bool) or not isinstance(self.vocabulary, int) or self.vocabulary < 2:
            raise InputError(f"vocabulary must be a number of classes >= 2, got {self.vocabulary!r}")
        values, indices = self.log_probabilities, self.indices
        for name, tensor in (("log_probabilities", values), ("indices", indices)):
            if not isinstance(tensor, Tensor):
                raise InputError(f"{name} must be a tensor of shape [N, k], got {type(tensor).__name__}")
        if values.ndim != 2 or not 1 <= values.shape[1] <= self.vocabulary:
            raise InputError(
                f"log_probabilities must have shape [N, k] with 1 <= k <= {self.vocabulary}, got {list(values.shape)}"
            )
        if not values.is_floating_point():
            raise InputError(f"log_probabilities must be floating point, got {values.dtype}")
        if indices.shape != values.shape or indices.device != values.device:
            raise InputError(
                f"indices must have shape {list(values.shape)} on {values.device}, as log_probabilities, "
                f"got {list(indices.shape)} on {indices.device}"
            )
        if indices.is_floating_point() or indices.dtype == torch.bool:
            raise InputError(f"indices must be integer classes, got {indices.dtype}")
        if len(self) and values_are_readable(values):
            _check_values(values, indices, self.vocabulary)

    @classmethod
    def of(cls, logits: Tensor, k: int) -> TopK:
        """The k most probable classes of logits [N, V], 1 <= k <= V, in float32 (float64 for float64).

        Raises:
            InputError: for logits of another shape or with NaN or infinity, or k out of range.
        """
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise InputError(f"logits must have shape [N, V] with V >= 2, got {list(logits.shape)}")
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= logits.shape[1]:
            raise InputError(f"k must lie in [1, {logits.shape[1]}], the vocabulary, got {k!r}")
        check_finite("logits", logits)
        wide = logits.detach() if logits.dtype == torch.float64 else logits.detach().float()
        values, indices = wide.topk(k, dim=1)
        return cls(values - wide.logsumexp(1, keepdim=True), indices, logits.shape[1])

    def __len__(self) -> int:
        """Number of tokens N."""
        return self.log_probabilities.shape[0]

    def __getitem__(self, rows: slice) -> TopK:
        """Some of the tokens."""
        return TopK(self.log_probabilities[rows], self.indices[rows], self.vocabulary)

    @property
    def k(self) -> int:
        """Number of classes per token."""
        return self.log_probabilities.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the log-probabilities."""
        return self.log_probabilities.dtype

    def logits(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """`completed` log-probabilities of some of the tokens, [r, V], as what a policy sees of the teacher."""
        return self[rows].completed(dtype)

    def to(self, device: torch.device | str) -> TopK:
        """The same on another device."""
        return TopK(self.log_probabilities.to(device), self.indices.to(device), self.vocabulary)

    def log_rest(self, dtype: torch.dtype) -> Tensor:
        """Logarithm of the rest, [N]; a rest that rounding may have made counts as of that size.

        Raises:
            InputError: where k = V, and nothing is left.
        """
        if self.k == self.vocabulary:
            raise InputError(f"k must be below the vocabulary for a rest, got {self.k} of {self.vocabulary}")
        return torch.maximum(self.rest(), self.rounding()).log().to(dtype)

    def rest(self) -> Tensor:
        """The probability of all other classes, [N], float64; rounding may make it negative."""
        return 1.0 - self.log_probabilities.double().exp().sum(1)

    def rounding(self) -> Tensor:
        """About the error, [N], that rounding makes in `rest`.

        Log-probabilities are rounded in proportion to their size, after they were computed in float32 at least.
        """
        values = self.log_probabilities.double()
        computed = torch.finfo(torch.promote_types(self.dtype, torch.float32)).eps
        return computed - torch.finfo(self.dtype).eps * (values.exp() * values).sum(1)

    def completed(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Log-probabilities of all classes, [N, V], with the rest spread evenly over the others.

        This is what a policy gets as logits of the teacher. Of its features, confidence, margin (for k >= 2) and
        agreement are exact, and so is the probability of a label among the k; entropy is at least the true one, spread
        at most.
        """
        known = self.log_probabilities.to(dtype)
        if self.k == self.vocabulary:
            everywhere = known.new_zeros(len(self), self.vocabulary)
        else:
            even = self.log_rest(dtype) - math.log(self.vocabulary - self.k)
            everywhere = even[:, None].expand(-1, self.vocabulary)
        return everywhere.scatter(1, self.indices.long(), known)


def _check_values(values: Tensor, indices: Tensor, vocabulary: int) -> None:
    check_finite("log_probabilities", values)
    low, high = (int(bound) for bound in indices.aminmax())
    if not 0 <= low <= high < vocabulary:
        raise InputError(f"indices must lie in [0, {vocabulary}), got values from {low} to {high}")
    ordered = indices.sort(dim=1).values
    if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        raise InputError("indices must name each class of a token once, got one twice")
    total = float(values.double().exp().sum(1).max())
    if total > 1.0 + max(1e-4, 8.0 * torch.finfo(values.dtype).eps):
        raise InputError(
            "log_probabilities must be normalized over the whole vocabulary, with probabilities that add up to at most "
            f"1 per token, got a sum of {total:g}"
        )
