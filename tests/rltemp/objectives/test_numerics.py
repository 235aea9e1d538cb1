"""A search for NaN: every rule, with every objective, on logits that break textbook implementations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rltemp.alignment import ALIGNMENT_TEMPERATURES
from rltemp.objectives import dkd_loss, kd_loss
from rltemp.policies import TemperaturePolicy, list_policies, make_policy

KINDS = ["normal", "uniform", "constant", "zero", "one-hot", "two values", "shifted", "tiny", "opposite"]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def draw(kind: str, size: float, batch: int, classes: int, generator: torch.Generator) -> Tensor:
    noise = torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    hot = torch.zeros_like(noise).scatter(1, torch.randint(classes, (batch, 1), generator=generator), 1.0)
    return {
        "normal": 3 * noise,
        "uniform": size * noise.clamp(-1, 1),
        "constant": torch.full_like(noise, size),
        "zero": torch.zeros_like(noise),
        "one-hot": size * hot,
        "two values": size * noise.sign(),
        "shifted": size + noise,
        "tiny": 1e-9 * noise,
        "opposite": -size - noise.abs(),
    }[kind]


@pytest.mark.parametrize("name", list_policies())
@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(KINDS),
    st.floats(-1e4, 1e4, allow_nan=False),
    st.sampled_from([1, 3]),
    st.sampled_from([2, 3, 10]),
    st.sampled_from(DTYPES),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_no_nan_is_found(
    name: str,
    teacher: str,
    student: str,
    size: float,
    batch: int,
    classes: int,
    dtype: torch.dtype,
    equal: bool,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    z_t = draw(teacher, size, batch, classes, generator).to(dtype)
    z_s = z_t.clone() if equal else draw(student, size, batch, classes, generator).to(dtype)
    targets = torch.randint(classes, (batch,), generator=generator)
    assert_finite(make_policy(name), z_t, z_s, targets, generator)


@pytest.mark.parametrize("name", list_policies())
@pytest.mark.parametrize("kind", ["uniform", "constant", "one-hot"])
def test_ten_thousand_classes_stay_finite(name: str, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    z_t, z_s = (draw(kind, 1e4, 2, 10_000, generator).to(torch.float32) for _ in range(2))
    assert_finite(make_policy(name), z_t, z_s, torch.tensor([0, 9_999]), generator)


def assert_finite(
    policy: TemperaturePolicy, z_t: Tensor, z_s: Tensor, targets: Tensor, generator: torch.Generator
) -> None:
    alignment = torch.randn(len(z_t), len(ALIGNMENT_TEMPERATURES), generator=generator)
    for objective in ("kd", "dkd"):
        leaf = z_s.clone().requires_grad_()
        policy.zero_grad()
        temperatures = policy(leaf, z_t, targets, 0.5, alignment)
        losses = kd_loss(leaf, z_t, temperatures) if objective == "kd" else dkd_loss(leaf, z_t, targets, temperatures)
        assert losses.dtype == (torch.float64 if z_t.dtype == torch.float64 else torch.float32)
        assert bool(torch.isfinite(losses).all())
        losses.sum().backward()
        assert leaf.grad is not None
        # A gradient of 1e5 is finite, but not in float16.
        assert z_s.dtype == torch.float16 or bool(torch.isfinite(leaf.grad).all())
        for parameter in policy.parameters():
            assert parameter.grad is not None
            assert bool(torch.isfinite(parameter.grad).all())
