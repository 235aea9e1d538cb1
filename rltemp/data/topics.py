"""Texts that are made: words of a few topics that overlap, drawn the same way every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rltemp.data.dataset import Dataset

__all__ = ["load_topics"]

Array = npt.NDArray[np.floating[Any]]

_TOPICS, _WORDS, _IDS, _LENGTH, _SHORTEST = 4, 4000, 8192, 64, 16
_STRANGE = 0.3
"""Largest share of a text's words that are of another topic."""
_TILT = 0.65
"""Standard deviation, over words, of the logarithm of how much likelier a topic makes them."""


def load_topics(
    generator: np.random.RandomState | None = None, *, train: int = 12000, test: int = 3000
) -> tuple[Dataset, Dataset]:
    """Training and test texts as token ids int64 [N, 64] in 4 classes, in the form of `load_news`: 0 is padding.

    How often words are used falls off as their rank does (Zipf's law), in every topic with other favourites. A text has
    16 to 64 words, each of its own topic or of one other, which has up to 30 % of them.

    Args:
        generator: draws everything. It is of NumPy's frozen kind, whose stream never changes.
        train: number of training texts.
        test: number of test texts.
    """
    generator = generator or np.random.RandomState(42)
    frequency = 1.0 / (np.arange(_WORDS) + 2.7)
    topics = frequency * np.exp(_TILT * generator.randn(_TOPICS, _WORDS))
    ids = 1 + generator.permutation(_IDS - 1)[:_WORDS]
    count = train + test
    own = generator.randint(_TOPICS, size=count)
    other = (own + generator.randint(1, _TOPICS, size=count)) % _TOPICS
    elsewhere = generator.rand(count, _LENGTH) < _STRANGE * generator.rand(count, 1)
    words = ids[_draw(topics, np.where(elsewhere, other[:, None], own[:, None]), generator)]
    words[np.arange(_LENGTH) >= generator.randint(_SHORTEST, _LENGTH + 1, size=(count, 1))] = 0
    texts, labels = torch.from_numpy(words.astype(np.int64)), torch.from_numpy(own.astype(np.int64))
    return Dataset(texts[:train], labels[:train], _TOPICS), Dataset(texts[train:], labels[train:], _TOPICS)


def _draw(weights: Array, rows: npt.NDArray[np.int64], generator: np.random.RandomState) -> npt.NDArray[np.int64]:
    """Columns of [K, V] weights, drawn for each of the rows that an array names; of its shape."""
    sums = weights.cumsum(1)
    at = generator.rand(*rows.shape) * sums[rows, -1]
    drawn = np.empty(rows.shape, dtype=np.int64)
    for row, ends in enumerate(sums):
        drawn[rows == row] = np.searchsorted(ends, at[rows == row], side="right")
    return drawn
