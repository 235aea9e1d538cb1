"""Whitened features are what they are said to be, and steps in them are steps of the layer that sees the features."""

import numpy as np
import pytest
import torch

from rltemp.agents import whitening
from rltemp.agents.whitening import Basis, FeatureMoments

RIDGE = 0.1


def _met(observations: np.ndarray, steps: int, rollouts: int) -> FeatureMoments:
    moments = FeatureMoments(observations.shape[1])
    for _ in range(rollouts):
        for part in np.array_split(observations, steps):
            moments.note(torch.from_numpy(part), steps)
    return moments


def _together(count: int) -> np.ndarray:
    """Observations [count, 3] in [0, 1], of which two vary together and one hardly varies."""
    first, second, third = np.random.default_rng(0).random((3, count))
    return np.stack((first, 0.9 * first + 0.1 * second, 0.5 + 0.02 * third), axis=1).astype(np.float32)


def test_nothing_met_counts_as_features_that_are_independent() -> None:
    basis = FeatureMoments(3).basis()
    torch.testing.assert_close(basis.scale, torch.eye(3) / np.sqrt(1.0 + RIDGE))
    assert not basis.mean.any()


def test_whitened_features_vary_alike_but_for_the_ridge() -> None:
    observations = _together(1000)
    basis = _met(observations, steps=4, rollouts=100_000).basis()
    centered = 4.0 * (observations.astype(np.float64) - 0.5)
    white = (centered - centered.mean(0)) @ basis.scale.double().numpy()
    variances, directions = np.linalg.eigh(np.cov(centered.T, bias=True))
    want = directions @ np.diag(variances / (variances + RIDGE)) @ directions.T
    np.testing.assert_allclose(np.cov(white.T, bias=True), want, atol=2e-3)
    np.testing.assert_allclose(white.mean(0), 0.0, atol=1e-3)


def test_rollouts_count_alike_whatever_their_length() -> None:
    observations = _together(600)
    short, long = (_met(observations, steps, rollouts=7) for steps in (2, 60))
    torch.testing.assert_close(short.sums, long.sums)


def test_a_rollout_at_once_is_one_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    observations = _together(600)
    want = _met(observations, steps=6, rollouts=1).sums
    for rows in (100, 1000):  # in parts, and whole
        monkeypatch.setattr(whitening, "_ROWS", rows)
        met = FeatureMoments(3)
        met.note_rollout(torch.from_numpy(observations))
        torch.testing.assert_close(met.sums, want)


def test_steps_are_those_of_the_layer_that_sees_the_features() -> None:
    generator = torch.Generator().manual_seed(0)
    scale, mean, features = torch.randn(3, 3, generator=generator), torch.randn(3, generator=generator), 5
    vectors, seen = torch.randn(4, 2 * 4 + features, generator=generator), torch.randn(6, 3, generator=generator)
    symmetric = Basis(scale + scale.T, mean)
    weights = symmetric.weights(vectors, outputs=2)
    for vector, own in zip(vectors, weights, strict=True):
        white = (seen - mean) @ symmetric.scale
        want = white @ vector[:6].unflatten(0, (2, 3)).T + vector[6:8]
        torch.testing.assert_close(seen @ own[:6].unflatten(0, (2, 3)).T + own[6:8], want)
        assert torch.equal(own[8:], vector[8:])
