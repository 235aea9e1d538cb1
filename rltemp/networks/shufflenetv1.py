"""ShuffleNet (Zhang et al., 2018) for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, channel_shuffle, relu

from rltemp.networks.network import Network

__all__ = ["ShuffleNetV1"]

_STEM, _GROUPS = 24, 3


class _Block(nn.Module):
    """Grouped bottleneck; with stride 2 the pooled input is concatenated with the result instead of added to it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        width = outputs // 4
        # The stem's few channels are not grouped (section 3.2 of the paper), hence not shuffled either.
        self.groups = 1 if inputs == _STEM else _GROUPS
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, width, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, groups=_GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)), inplace=True)
        out = channel_shuffle(out, self.groups)
        # The paper leaves this ReLU out; the networks whose accuracies are published have it.
        out = relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        if self.stride == 1:
            return relu(out + x, inplace=True)
        return relu(torch.cat([out, avg_pool2d(x, 3, 2, padding=1)], 1), inplace=True)


class ShuffleNetV1(Network):
    """Three groups, stages of 4, 8, and 4 blocks with 240, 480, and 960 channels, behind a 1 x 1 stem.

    Args:
        classes: number of logits C.
        channels: channels of an image.
    """

    def __init__(self, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        self.layers = nn.Sequential(_stage(4, _STEM, 240), _stage(8, 240, 480), _stage(4, 480, 960))
        self.classifier = nn.Linear(960, classes)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, 960] of the last stage, for images `x` [B, channels, H, W]."""
        x = self.layers(relu(self.bn1(self.conv1(x)), inplace=True))
        return x.mean((2, 3))


def _stage(blocks: int, inputs: int, outputs: int) -> nn.Sequential:
    first = _Block(inputs, outputs - inputs, stride=2)
    return nn.Sequential(first, *(_Block(outputs, outputs, stride=1) for _ in range(blocks - 1)))
