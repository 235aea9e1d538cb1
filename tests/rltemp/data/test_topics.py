import numpy as np
import pytest
import torch
from torch import Tensor

from rltemp.data import load_topics


def test_texts_have_the_form_of_news() -> None:
    train, test = load_topics()
    assert (train.images.shape, test.images.shape, train.classes) == ((12000, 64), (3000, 64), 4)
    assert train.images.dtype == torch.int64
    assert 0 <= int(train.images.min()) <= int(train.images.max()) < 8192
    lengths = (train.images != 0).sum(1)
    assert (int(lengths.min()), int(lengths.max())) == (16, 64)
    # Padding comes after the words.
    assert torch.equal((train.images != 0).cumprod(1).sum(1), lengths)


def test_the_generator_decides() -> None:
    first, again, other = (load_topics(np.random.RandomState(seed), train=40, test=10) for seed in (1, 1, 2))
    assert torch.equal(first[0].images, again[0].images)
    assert torch.equal(first[1].targets, again[1].targets)
    assert not torch.equal(first[0].images, other[0].images)


def test_words_fall_off_by_zipfs_law() -> None:
    """On logarithmic axes counts fall by rank on a line of slope -1, about which topics scatter them."""
    counts = _counts(load_topics()[0].images).sort(descending=True).values
    assert int((counts > 0).sum()) <= 4000
    ranks = np.arange(20, 1000)
    slope, _ = np.polyfit(np.log(ranks), np.log(counts[ranks].numpy()), 1)
    assert slope == pytest.approx(-1, abs=0.15)


def test_words_tell_topics_apart_but_not_always() -> None:
    """By naive Bayes, the best that can be done with counts of words of one topic each."""
    train, test = load_topics()
    frequency = torch.stack([_counts(train.images[train.targets == topic]) for topic in range(4)])
    scores = ((frequency + 1) / (frequency + 1).sum(1, keepdim=True)).log()
    scores[:, 0] = 0  # of padding
    guesses = scores[:, test.images].sum(-1).argmax(0)
    assert 0.75 < float((guesses == test.targets).double().mean()) < 0.97


def _counts(texts: Tensor) -> Tensor:
    counts = texts.flatten().bincount(minlength=8192).double()
    counts[0] = 0
    return counts
