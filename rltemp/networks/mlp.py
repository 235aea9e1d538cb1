"""The multilayer perceptron."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.networks.network import Network

__all__ = ["MLP"]


class MLP(Network):
    """Linear layers with ReLU between them, on flattened input.

    Weights and biases start uniform in +-1/sqrt(fan_in), PyTorch's default for `nn.Linear`.

    Args:
        sizes: widths from input to logits, at least two, e.g. (64, 16, 10).
        generator: draws the initial parameters; PyTorch's global generator if None.

    Raises:
        InputError: for fewer than two sizes, or a size < 1.
    """

    stacks = True

    def __init__(self, sizes: Sequence[int], generator: torch.Generator | None = None) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise InputError(f"sizes must be at least two widths >= 1, from input to logits, got {tuple(sizes)}")
        self.sizes = tuple(sizes)
        layers = [_linear(inputs, outputs, generator) for inputs, outputs in itertools.pairwise(sizes)]
        self.hidden = nn.ModuleList(layers[:-1])
        self.classifier = layers[-1]

    def features(self, x: Tensor) -> Tensor:
        """The last hidden activations [B, H] for `x` [B, ...]; the flattened input itself without hidden layers."""
        x = x.flatten(1)
        for layer in self.hidden:
            x = layer(x).relu()
        return x


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    bound = 1.0 / math.sqrt(inputs)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
