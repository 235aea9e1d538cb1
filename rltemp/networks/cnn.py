"""A small plain convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rltemp.errors import InputError
from rltemp.networks.base import Network
from rltemp.networks.initialization import he_initialize

__all__ = ["CNN"]


class CNN(Network):
    """3 x 3 convolutions with batch normalization and ReLU, then global average pooling.

    The resolution halves where the width grows, except in the first layer.

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
        inputs = channels
        for width in widths:
            stride = 2 if layers and width > inputs else 1
            layers += [
                nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)
        he_initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, widths[-1]] of the last layer, for images `x` [B, C, H, W]."""
        x = self.layers(x)
        return x.mean((2, 3))
