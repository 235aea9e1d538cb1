"""Initial parameters from a passed generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["seeded_by"]


@contextmanager
def seeded_by(generator: torch.Generator) -> Iterator[None]:
    """Let modules that initialize themselves from PyTorch's global CPU generator depend on `generator` alone.

    One seed is drawn from `generator`; the global generator is seeded with it and put back afterwards. This is what
    networks need whose constructors take no generator: convolutions, torchvision's and timm's models. Build on the CPU
    and move afterwards: `torch.manual_seed`, which would also reach the GPU's generators, is avoided on purpose.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
    state = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.default_generator.set_state(state)
