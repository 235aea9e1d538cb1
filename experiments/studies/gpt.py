"""A small causal transformer over characters, for the study of tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GPT"]

_HEADS = 4


class GPT(nn.Module):
    """Pre-norm blocks of causal attention and a perceptron, with learned positions.

    Args:
        vocabulary: number of characters V.
        width: of hidden states, a multiple of 4.
        layers: number of blocks.
        context: most positions L.
        generator: draws the initial weights.
    """

    def __init__(self, vocabulary: int, width: int, layers: int, context: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, 0.0, 0.02, generator=generator)

    def forward(self, characters: Tensor) -> Tensor:
        """Logits [S, L, V] of the character after each of `characters`, int64 [S, L]."""
        hidden = self.embedding(characters) + self.position[: characters.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        logits: Tensor = self.head(self.norm(hidden))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: Tensor) -> Tensor:
        parts = self.attention(self.norms[0](hidden)).unflatten(-1, (3, _HEADS, -1)).transpose(1, 3)
        query, key, value = parts.unbind(2)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.mix(mixed.transpose(1, 2).flatten(2))
        result: Tensor = hidden + self.perceptron(self.norms[1](hidden))
        return result
