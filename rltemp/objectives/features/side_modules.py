"""Layers with PyTorch's default initialization, drawn from a given generator."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import skip_init

__all__ = ["convolution", "linear"]


def convolution(inputs: int, outputs: int, generator: torch.Generator) -> nn.Conv2d:
    """A 1 x 1 convolution without bias, its weights uniform in +-1/sqrt(inputs), drawn from `generator`."""
    layer: nn.Conv2d = skip_init(nn.Conv2d, inputs, outputs, kernel_size=1, bias=False)
    nn.init.uniform_(layer.weight, -(inputs**-0.5), inputs**-0.5, generator)
    return layer


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer, its weights and biases uniform in +-1/sqrt(inputs), drawn from `generator`."""
    layer: nn.Linear = skip_init(nn.Linear, inputs, outputs)
    for parameter in (layer.weight, layer.bias):
        nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator)
    return layer
