"""A small convolutional network for signals."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.networks.initialization import he_initialize
from rltemp.networks.network import Network

__all__ = ["CNN1d"]


class CNN1d(Network):
    """Convolutions over 5 points with ReLU and maxima over 2 points, then the global average.

    Without batch normalization, so that networks run side by side; on signals this short that is faster.

    Args:
        widths: channels of each convolution, at least one.
        classes: number of logits C.
        channels: channels of a signal.

    Raises:
        InputError: without a width, or for one < 1.
    """

    stacks = True

    def __init__(self, widths: Sequence[int], classes: int, channels: int = 1) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise InputError(f"channels must be at least one width >= 1, got {tuple(widths)}")
        layers: list[nn.Module] = []
        for inputs, width in itertools.pairwise((channels, *widths)):
            # Rounding up leaves a single point as it is.
            layers += [nn.Conv1d(inputs, width, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True)]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], classes)
        he_initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, widths[-1]] of the last layer, for signals `x` [B, channels, N]."""
        x = self.layers(x)
        return x.mean(2)
