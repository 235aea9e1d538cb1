"""MobileNet (Howard et al., 2017), as distillation papers train it on ImageNet."""

from __future__ import annotations

from torch import Tensor, nn

from rltemp.networks.initialization import he_initialize
from rltemp.networks.network import Network

__all__ = ["MobileNetV1"]

# Channels and stride of each block of two convolutions (table 1 of the paper).
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *(((512, 1),) * 5), (1024, 2), (1024, 1))


class MobileNetV1(Network):
    """Depthwise separable convolutions of full width; 224 x 224 px are halved five times.

    Args:
        classes: number of logits C.
        channels: channels of an image.
    """

    def __init__(self, classes: int, channels: int = 3) -> None:
        super().__init__()
        inputs = 32
        blocks = [_convolution(channels, inputs, kernel=3, stride=2)]
        for outputs, stride in _BLOCKS:
            blocks += [
                _convolution(inputs, inputs, kernel=3, stride=stride, groups=inputs),
                _convolution(inputs, outputs, kernel=1, stride=1),
            ]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(inputs, classes)
        he_initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, 1024] of the last convolution, for images `x` [B, channels, H, W]."""
        features: Tensor = self.blocks(x).mean((2, 3))
        return features


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
