"""ShuffleNetV2 (Ma et al., 2018) for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import channel_shuffle, relu

from rltemp.networks.network import Network

__all__ = ["ShuffleNetV2"]


class _Block(nn.Module):
    """Convolves one half of the channels, and shuffles the result with the other half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 2
        self.conv1 = nn.Conv2d(width, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        kept, out = x.chunk(2, dim=1)
        out = relu(self.bn1(self.conv1(out)), inplace=True)
        out = self.bn2(self.conv2(out))
        out = relu(self.bn3(self.conv3(out)), inplace=True)
        return channel_shuffle(torch.cat([kept, out], 1), 2)


class _DownBlock(nn.Module):
    """Halves the resolution on two paths, each with half of the output channels, and shuffles their channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = outputs // 2
        self.conv1 = nn.Conv2d(inputs, inputs, 3, 2, padding=1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv4 = nn.Conv2d(width, width, 3, 2, padding=1, groups=width, bias=False)
        self.bn4 = nn.BatchNorm2d(width)
        self.conv5 = nn.Conv2d(width, width, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        left = self.bn1(self.conv1(x))
        left = relu(self.bn2(self.conv2(left)), inplace=True)
        right = relu(self.bn3(self.conv3(x)), inplace=True)
        right = self.bn4(self.conv4(right))
        right = relu(self.bn5(self.conv5(right)), inplace=True)
        return channel_shuffle(torch.cat([left, right], 1), 2)


class ShuffleNetV2(Network):
    """The 1x network: stages of 116, 232, and 464 channels, with 3, 7, and 3 blocks behind one of stride 2.

    Args:
        classes: number of logits C.
        channels: channels of an image.
    """

    def __init__(self, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 24, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.layers = nn.Sequential(_stage(3, 24, 116), _stage(7, 116, 232), _stage(3, 232, 464))
        self.conv2 = nn.Conv2d(464, 1024, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1024)
        self.classifier = nn.Linear(1024, classes)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, 1024] of the last convolution, for images `x` [B, channels, H, W]."""
        x = self.layers(relu(self.bn1(self.conv1(x)), inplace=True))
        return relu(self.bn2(self.conv2(x)), inplace=True).mean((2, 3))


def _stage(blocks: int, inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_DownBlock(inputs, outputs), *(_Block(outputs) for _ in range(blocks)))
