"""MobileNetV2 (Sandler et al., 2018) for small images."""

from __future__ import annotations

from torch import Tensor, nn

from rltemp.networks.initialization import he_initialize
from rltemp.networks.network import Network

__all__ = ["MobileNetV2"]

# Expansion, channels, blocks, and first stride of each stage. The second stage keeps the resolution, which the network
# for ImageNet halves there (table 2 of the paper): 32 x 32 px are halved four times in all, not five.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class MobileNetV2(Network):
    """Inverted residuals of half the paper's width, as in the distillation papers, and 1280 channels at the end.

    Args:
        classes: number of logits C.
        channels: channels of an image.
    """

    def __init__(self, classes: int, channels: int = 3) -> None:
        super().__init__()
        inputs = 32 // 2
        self.conv1 = _convolution(channels, inputs, kernel=3, stride=2)
        stages = []
        for expansion, wide, blocks, first_stride in _STAGES:
            outputs = wide // 2
            stage = []
            for position in range(blocks):
                stage.append(_InvertedResidual(inputs, outputs, first_stride if position == 0 else 1, expansion))
                inputs = outputs
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.conv2 = _convolution(inputs, 1280, kernel=1, stride=1)
        self.classifier = nn.Linear(1280, classes)
        he_initialize(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, 1280] of the last convolution, for images `x` [B, channels, H, W]."""
        x = self.conv2(self.blocks(self.conv1(x)))
        return x.mean((2, 3))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
