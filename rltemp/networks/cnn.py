"""A small plain convolutional network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.networks.initialization import he_initialize
from rltemp.networks.network import Network

__all__ = ["CNN"]


class CNN(Network):
    """3 x 3 convolutions with batch normalization and ReLU, then global average pooling.

    Max pooling over 2 x 2 px halves the resolution after every convolution but the first, down to a single pixel.

    Args:
        widths: channels of each convolution, at least one.
        classes: number of logits C.
        channels: channels of an image.

    Raises:
        InputError: without a width, or for one < 1.
    """

    def __init__(self, widths: Sequence[int], classes: int, channels: int = 3) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise InputError(f"channels must be at least one width >= 1, got {tuple(widths)}")
        layers: list[nn.Module] = []
        for number, (inputs, width) in enumerate(itertools.pairwise((channels, *widths))):
            layers += [
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            if number > 0:
                # Rounding up keeps a single pixel, and the border of odd sizes.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], classes)
        he_initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, widths[-1]] of the last layer, for images `x` [B, channels, H, W]."""
        x = self.layers(x)
        return x.mean((2, 3))
