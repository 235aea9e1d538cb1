"""Residual networks for small images (He et al., 2016), of basic blocks or of bottlenecks.

Widths, depths, and initial values are those with which the distillation literature reports CIFAR-100, after
"Contrastive Representation Distillation" (Tian et al., 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import relu

from rltemp.networks.initialization import he_initialize
from rltemp.networks.network import Network

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "cifar_resnet", "resnet50"]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Args:
        inputs: channels of the input.
        width: channels of the output.
        stride: of the first convolution.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, width, H / stride, W / stride] of features `x` [B, inputs, H, W]."""
        out = relu(self.bn1(self.conv1(x)), inplace=True)
        return relu(self.bn2(self.conv2(out)) + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two 1 x 1 ones, beside a shortcut; the output has four times the inner width.

    Args:
        inputs: channels of the input.
        width: channels of the 3 x 3 convolution; the output has 4 * width.
        stride: of the 3 x 3 convolution.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, 4 * width, H / stride, W / stride] of features `x` [B, inputs, H, W]."""
        out = relu(self.bn1(self.conv1(x)), inplace=True)
        out = relu(self.bn2(self.conv2(out)), inplace=True)
        return relu(self.bn3(self.conv3(out)) + self.shortcut(x), inplace=True)


class ResNet(Network):
    """A 3 x 3 stem, stages of residual blocks that halve the resolution from the second on, global average pooling.

    Args:
        block: type of the residual blocks.
        stem: channels of the first convolution.
        widths: width of each stage.
        blocks: number of blocks of each stage.
        classes: number of logits C.
        channels: channels of an image.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        classes: int,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        stages = []
        inputs = stem
        for number, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            stage = []
            for position in range(depth):
                stage.append(block(inputs, width, stride=2 if number > 0 and position == 0 else 1))
                inputs = width * block.expansion
            stages.append(nn.Sequential(*stage))
        self.layers = nn.Sequential(*stages)
        self.classifier = nn.Linear(inputs, classes)
        he_initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, H] of the last stage, for images `x` [B, channels, H, W]."""
        x = self.layers(relu(self.bn1(self.conv1(x)), inplace=True))
        return x.mean((2, 3))


def cifar_resnet(depth: int, widths: Sequence[int], classes: int, channels: int = 3) -> ResNet:
    """A residual network of basic blocks for small images (He et al., 2016, section 4.2).

    Args:
        depth: 6 n + 2 layers, n blocks per stage.
        widths: channels of the stem and of the three stages.
        classes: number of logits C.
        channels: channels of an image.
    """
    blocks = [(depth - 2) // 6] * 3
    return ResNet(BasicBlock, widths[0], widths[1:], blocks, classes, channels)


def resnet50(classes: int, channels: int = 3) -> ResNet:
    """ResNet-50 whose stem, for small images, has neither stride nor pooling."""
    return ResNet(Bottleneck, 64, (64, 128, 256, 512), (3, 4, 6, 3), classes, channels)
