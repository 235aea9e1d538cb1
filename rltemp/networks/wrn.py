"""Wide residual networks (Zagoruyko and Komodakis, 2016)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from rltemp.networks.initialization import he_initialize
from rltemp.networks.network import Network

__all__ = ["WideResNet"]


class _Block(nn.Module):
    """Pre-activated residual block; where the width changes, the shortcut also starts from the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = relu(self.bn1(x), inplace=True)
        out: Tensor = self.conv2(relu(self.bn2(self.conv1(activated)), inplace=True))
        return out + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(Network):
    """WRN-`depth`-`widen` without dropout, for small images.

    Args:
        depth: 6 n + 4 layers, n blocks per stage.
        widen: factor on the widths 16, 32, and 64.
        classes: number of logits C.
        channels: channels of an image.
    """

    def __init__(self, depth: int, widen: int, classes: int, channels: int = 3) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.layers = nn.Sequential(
            _stage(blocks, 16, 16 * widen, stride=1),
            _stage(blocks, 16 * widen, 32 * widen, stride=2),
            _stage(blocks, 32 * widen, 64 * widen, stride=2),
        )
        self.bn1 = nn.BatchNorm2d(64 * widen)
        self.classifier = nn.Linear(64 * widen, classes)
        he_initialize(self)
        nn.init.zeros_(self.classifier.bias)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, 64 * widen] of the last stage, for images `x` [B, channels, H, W]."""
        x = self.layers(self.conv1(x))
        return relu(self.bn1(x), inplace=True).mean((2, 3))


def _stage(blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))
