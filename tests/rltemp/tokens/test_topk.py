"""What is known of a teacher by its top k classes: what is refused, and which of a policy's features are exact."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rltemp import InputError, LogitFeatures
from rltemp.features import LOGIT_FEATURES
from rltemp.temperatures import Temperatures
from rltemp.tokens import TopK, sparse_kd_bounds


def draw(*shape: int, seed: int = 0, size: float = 3.0) -> Tensor:
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_holds_the_most_probable_classes_of_logits() -> None:
    logits = draw(4, 9)
    teacher = TopK.of(logits, 3)
    assert (len(teacher), teacher.k, teacher.vocabulary) == (4, 3, 9)
    for row, values, indices in zip(
        logits.tolist(), teacher.log_probabilities.tolist(), teacher.indices.tolist(), strict=True
    ):
        order = sorted(range(9), key=lambda i: -row[i])
        total = math.log(sum(math.exp(z) for z in row))
        assert indices == order[:3]
        assert values == pytest.approx([row[i] - total for i in order[:3]])
    rest = 1 - teacher.log_probabilities.exp().sum(1)
    assert teacher.log_rest(torch.float64).tolist() == pytest.approx(rest.log().tolist())
    assert torch.equal(teacher[1:3].indices, teacher.indices[1:3])
    assert TopK.of(draw(4, 9).bfloat16(), 2).dtype == torch.float32


def test_completed_it_is_a_distribution_with_an_even_rest() -> None:
    teacher = TopK.of(draw(4, 9), 3)
    everything = teacher.completed(torch.float64)
    assert everything.exp().sum(1).tolist() == pytest.approx([1.0] * 4)
    assert torch.equal(everything.gather(1, teacher.indices), teacher.log_probabilities)
    others = everything.scatter(1, teacher.indices, math.inf).sort(1).values[:, :6]
    assert torch.equal(others, others[:, :1].expand(-1, 6))
    whole = TopK.of(draw(4, 9), 9)
    torch.testing.assert_close(whole.completed(torch.float64), draw(4, 9).log_softmax(1))
    with pytest.raises(InputError, match="k must be below the vocabulary"):
        whole.log_rest(torch.float64)


EXACT = {
    *("teacher_confidence", "teacher_margin", "agreement", "progress"),
    *(name for name in LOGIT_FEATURES if name.startswith("student_")),
}


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 40), st.integers(2, 40), st.floats(0.1, 6.0), st.integers(0, 1000))
def test_which_features_of_a_policy_are_exact_and_which_are_bounds(
    vocabulary: int, k: int, size: float, seed: int
) -> None:
    student, logits = draw(5, vocabulary, seed=seed), draw(5, vocabulary, seed=seed + 1, size=size)
    teacher, features = TopK.of(logits, min(k, vocabulary)), LogitFeatures()
    targets = torch.arange(5) % vocabulary
    true, seen = (
        dict(zip(features.names, features(student, given, targets, 0.5, None).double().unbind(1), strict=True))
        for given in (logits, teacher.completed(torch.float64))
    )
    for name in EXACT:
        torch.testing.assert_close(seen[name], true[name], rtol=1e-4, atol=1e-5, msg=name)
    assert bool((seen["teacher_entropy"] >= true["teacher_entropy"] - 1e-5).all())
    assert bool((seen["teacher_spread"] <= true["teacher_spread"] + 1e-5).all())
    known = (teacher.indices == targets[:, None]).any(1)
    label, guess = true["teacher_target_probability"], seen["teacher_target_probability"]
    torch.testing.assert_close(guess[known], label[known], rtol=1e-4, atol=1e-5)
    least = teacher.log_probabilities.exp().amin(1)
    assert bool(((label <= least + 1e-5) & (guess <= least + 1e-5))[~known].all())
    bounds = sparse_kd_bounds(student, teacher, Temperatures.shared(torch.ones(5, dtype=torch.float64)))
    low, high = (1 - torch.exp(-bound) for bound in bounds)
    for answer in (true["divergence"], seen["divergence"]):
        assert bool(((low <= answer + 1e-5) & (answer <= high + 1e-5)).all())


def test_what_is_no_top_k_is_refused() -> None:
    values, indices = torch.log(torch.tensor([[0.5, 0.3], [0.6, 0.2]])), torch.tensor([[0, 3], [2, 1]])
    TopK(values, indices, 4)
    TopK(values[:0], indices[:0], 4)
    with pytest.raises(InputError, match=r"shape \[N, k\] with 1 <= k <= 4, got \[2, 5\]"):
        TopK(values.new_zeros(2, 5), indices.new_zeros(2, 5), 4)
    with pytest.raises(InputError, match=r"k must lie in \[1, 4\], the vocabulary, got 5"):
        TopK.of(torch.zeros(2, 4), 5)
    with pytest.raises(InputError, match=r"normalized over the whole vocabulary.*got a sum of"):
        TopK(values + 1.0, indices, 4)
    with pytest.raises(InputError, match="normalized"):
        TopK(torch.tensor([[12.0, 3.0], [4.0, 2.0]]), indices, 4)
    with pytest.raises(InputError, match="log_probabilities must be finite"):
        TopK(values.log(), indices, 4)
    with pytest.raises(InputError, match=r"indices must lie in \[0, 3\), got values from 0 to 3"):
        TopK(values, indices, 3)
    with pytest.raises(InputError, match="each class of a token once"):
        TopK(values, torch.tensor([[0, 3], [2, 2]]), 4)
    with pytest.raises(InputError, match=r"indices must have shape \[2, 2\]"):
        TopK(values, indices[:1], 4)
    with pytest.raises(InputError, match="indices must be integer classes"):
        TopK(values, indices.float(), 4)
    with pytest.raises(InputError, match="floating point"):
        TopK(indices, indices, 4)
    with pytest.raises(InputError, match="vocabulary must be a number of classes >= 2, got 1"):
        TopK(values, indices, 1)
    with pytest.raises(InputError, match="logits must be finite"):
        TopK.of(torch.full((2, 4), math.nan), 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_is_no_lack_of_normalization(dtype: torch.dtype) -> None:
    whole = TopK.of(draw(200, 50), 50)
    assert TopK(whole.log_probabilities.to(dtype), whole.indices, 50).completed().dtype == torch.float32
