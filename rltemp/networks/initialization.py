"""Drawing of initial parameters from a given generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["he_initialize", "seeded_by"]


@contextmanager
def seeded_by(generator: torch.Generator) -> Iterator[None]:
    """Make modules that initialize themselves from PyTorch's global CPU generator depend on `generator` alone.

    One seed is drawn from `generator`; the global generator is seeded with it, and restored afterwards. Networks whose
    constructors take no generator need this: convolutions, and the models of torchvision and timm. Build on the CPU and
    move afterwards: GPU generators are not seeded.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
    state = torch.default_generator.get_state()
    try:
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.default_generator.set_state(state)


def he_initialize(network: nn.Module) -> None:
    """Draw every convolution's weights from a normal distribution of variance 2 / fan_out, and set its bias to 0.

    Source: He et al. (2015), "Delving Deep into Rectifiers", equation 14.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
