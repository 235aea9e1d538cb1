"""Small networks for texts of token ids, where 0 is padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rltemp.networks.initialization import he_initialize
from rltemp.networks.network import Network

__all__ = ["TextBag", "TextCNN"]

_KERNELS = (3, 4, 5)
_FEW_ROWS = 4096
"""Up to which a product with all rows of a table is cheaper than to look up each word's."""


class _Embedding(nn.Module):
    """One vector per id; ids beyond the table share its rows, and padding is zero.

    Args:
        buckets: rows of the table; 0 is never looked at.
        width: of a vector.
    """

    def __init__(self, buckets: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(buckets, width))

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [B, L, width] of `ids` int64 [B, L]."""
        rows, words = self._rows(ids)
        return F.embedding(rows, self.weight) * words.unsqueeze(-1)

    def mean(self, ids: Tensor) -> Tensor:
        """Means [B, width] over the words of `ids` int64 [B, L]; zero for a text without any."""
        rows, words = self._rows(ids)
        if len(self.weight) <= _FEW_ROWS:
            # No vector per word, neither here nor for the gradient.
            counts = self.weight.new_zeros(len(ids), len(self.weight))
            counts.scatter_add_(1, rows, words.to(self.weight.dtype))  # in place: a copy costs as much as the sums
            total = counts @ self.weight
        else:
            total = (F.embedding(rows, self.weight) * words.unsqueeze(-1)).sum(1)
        return total / words.sum(1, keepdim=True).clamp(min=1)

    def _rows(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Row of the table, and whether it is a word, of every id."""
        words = ids > 0
        return torch.where(words, 1 + (ids - 1) % (len(self.weight) - 1), 0), words


class TextBag(Network):
    """The mean of the words' vectors, as in fastText (Joulin et al., 2017).

    Args:
        width: of a word's vector, H.
        classes: number of logits C.
        buckets: vectors in the table, at least 2; words share them by their ids.
    """

    stacks = True

    def __init__(self, width: int, classes: int, buckets: int) -> None:
        super().__init__()
        self.embedding = _Embedding(buckets, width)
        self.classifier = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """Means [B, width] over the words of `x` int64 [B, L]; zero for a text without any."""
        mean: Tensor = self.embedding.mean(x)
        return mean


class TextCNN(Network):
    """Convolutions over 3, 4 and 5 words, and the maximum of each over the text (Kim, 2014).

    Args:
        width: of a word's vector.
        channels: of the convolutions over each number of words.
        classes: number of logits C.
        buckets: as in `TextBag`.
    """

    stacks = True

    def __init__(self, width: int, channels: int, classes: int, buckets: int) -> None:
        super().__init__()
        self.embedding = _Embedding(buckets, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, channels, size, padding=size - 1) for size in _KERNELS)
        self.classifier = nn.Linear(channels * len(_KERNELS), classes)
        he_initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """Maxima [B, 3 * channels], >= 0, over `x` int64 [B, L]."""
        vectors = self.embedding(x).mT
        return torch.cat([convolution(vectors).amax(2) for convolution in self.convolutions], dim=1).relu()
