"""A small causal transformer over tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltemp.errors import InputError
from rltemp.networks.network import Network

__all__ = ["GPT"]

_SPREAD = 0.02
"""Standard deviation of initial weights, as in GPT-2 (Radford et al., 2019)."""


class GPT(Network):
    """Pre-norm blocks of causal attention and a perceptron, with learned positions.

    Args:
        width: of hidden states, a multiple of `heads`.
        layers: number of blocks, >= 1.
        heads: of attention, >= 1.
        classes: size of the vocabulary V, of inputs and logits alike.
        context: most positions L of a window.

    Raises:
        InputError: for a width that is no multiple of the heads.
    """

    stacks = True

    def __init__(self, width: int, layers: int, heads: int, classes: int, context: int) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width must be a multiple of heads = {heads}, got {width}")
        self.embedding = nn.Embedding(classes, width)
        self.position = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, 0.0, _SPREAD)

    def features(self, x: Tensor) -> Tensor:
        """Hidden states [B, L, width] of windows `x` int64 [B, L]; a position sees itself and those before it."""
        hidden = self.embedding(x) + self.position[: x.shape[1]]
        # The one kernel with second and forward-mode derivatives, and it stacks; at small contexts none is faster.
        with sdpa_kernel(SDPBackend.MATH):
            for block in self.blocks:
                hidden = block(hidden)
        normalized: Tensor = self.norm(hidden)
        return normalized


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        parts = self.attention(self.norms[0](hidden)).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = parts.unbind(2)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.mix(mixed.transpose(1, 2).flatten(2))
        result: Tensor = hidden + self.perceptron(self.norms[1](hidden))
        return result
