"""What an agent is paid for equals its definition, found by loops and by another optimizer."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from rltemp.envs.objective import fitted_sharpness, objective_loss
from rltemp.recipes.schema import Objective

STUDENTS, IMAGES, CLASSES = 3, 40, 5


def _inputs(size: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = size * torch.randn(STUDENTS, IMAGES, CLASSES, generator=generator, dtype=torch.float64)
    targets = torch.randint(CLASSES, (IMAGES,), generator=generator)
    logits += 2.0 * torch.nn.functional.one_hot(targets, CLASSES)  # better than chance, so that some sharpness is best
    return logits, targets


def _probabilities(logits: np.ndarray, sharpness: float) -> np.ndarray:
    powers = np.exp(sharpness * (logits - logits.max(-1, keepdims=True)))
    result: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return result


def _nll(logits: np.ndarray, targets: np.ndarray, sharpness: float = 1.0) -> float:
    own = _probabilities(logits, sharpness)[np.arange(len(targets)), targets]
    return float(-np.log(own).mean())


def _best_sharpness(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """The sharpness of the least cross-entropy, and that cross-entropy."""
    limit = np.log(64.0)
    best = minimize_scalar(lambda b: _nll(logits, targets, np.exp(b)), bounds=(-limit, limit), method="bounded")
    return float(np.exp(best.x)), float(best.fun)


@pytest.mark.parametrize("size", [0.3, 3.0, 20.0])
def test_every_objective_equals_its_definition(size: float) -> None:
    logits, targets = _inputs(size)
    for k, (student, y) in enumerate((row.numpy(), targets.numpy()) for row in logits):
        sharpness, least = _best_sharpness(student, y)
        wrong = 1.0 - _probabilities(student, 2.0 * sharpness)[np.arange(IMAGES), y]
        expected: dict[Objective, float] = {
            "nll": _nll(student, y),
            "calibrated-nll": least,
            "soft-error": wrong.mean(),
            "error": float((student.argmax(-1) != y).mean()),
        }
        for name, value in expected.items():
            got = objective_loss(name, logits, targets)[k]
            assert float(got) == pytest.approx(value, rel=1e-4), name


def test_calibration_is_not_paid_for() -> None:
    logits, targets = _inputs()
    names: tuple[Objective, ...] = ("calibrated-nll", "soft-error", "error")
    for name in names:
        once, thrice = (objective_loss(name, size * logits, targets) for size in (1.0, 3.0))
        torch.testing.assert_close(once, thrice, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(objective_loss("nll", logits, targets), objective_loss("nll", 3.0 * logits, targets))


def test_the_sharpness_ends_at_its_limits_where_all_is_right_or_wrong() -> None:
    targets = torch.zeros(4, dtype=torch.int64)
    right = torch.tensor([[[1.0, 0.0]] * 4, [[0.0, 1.0]] * 4], dtype=torch.float64)
    torch.testing.assert_close(fitted_sharpness(right, targets), torch.tensor([64.0, 1.0 / 64.0], dtype=torch.float64))


@settings(deadline=None)
@given(size=st.floats(-3.0, 3.0).map(lambda power: 10.0**power), better=st.floats(0.0, 20.0), seed=st.integers(0, 99))
def test_the_sharpness_is_where_the_slope_changes_its_sign(size: float, better: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    targets = generator.integers(CLASSES, size=IMAGES)
    logits = generator.normal(size=(STUDENTS, IMAGES, CLASSES)) + better * np.eye(CLASSES)[targets]
    found = fitted_sharpness(size * torch.from_numpy(logits), torch.from_numpy(targets)).numpy()
    for student, sharpness in zip(size * logits, found, strict=True):
        if sharpness > 1.0 / 64.0:
            assert _slope(student, targets, sharpness * (1.0 - 1e-6)) <= 0.0
        if sharpness < 64.0:
            assert _slope(student, targets, sharpness * (1.0 + 1e-6)) >= 0.0


def _slope(logits: np.ndarray, targets: np.ndarray, sharpness: float) -> float:
    below = logits - logits[np.arange(len(targets)), targets][:, None]  # of the label's own logit: no cancellation
    return float((_probabilities(logits, sharpness) * below).sum(-1).mean())


def test_the_calibrated_loss_has_the_gradient_of_a_loss_whose_temperature_stays() -> None:
    logits, targets = _inputs()
    logits.requires_grad_()
    sharpness = fitted_sharpness(logits, targets)[:, None, None]
    (own,) = torch.autograd.grad(objective_loss("calibrated-nll", logits, targets).sum(), logits)
    expected = sharpness * (
        torch.softmax(sharpness * logits, -1) - torch.nn.functional.one_hot(targets, CLASSES).double()
    )
    torch.testing.assert_close(own, expected.detach() / IMAGES)
