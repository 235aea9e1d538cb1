"""VGG with batch normalization for small images (Simonyan and Zisserman, 2015), with one linear layer at the end."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from rltemp.networks.initialization import he_initialize
from rltemp.networks.network import Network

__all__ = ["VGG", "VGG_BLOCKS"]

VGG_BLOCKS: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg8": ((64,), (128,), (256,), (512,), (512,)),
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "vgg13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "vgg16": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}
"""Widths of the convolutions in each of the five blocks, by name of the network."""


class VGG(Network):
    """Five blocks of 3 x 3 convolutions; the resolution halves after each of the first three.

    Args:
        widths: widths of the convolutions of each of the five blocks.
        classes: number of logits C.
        channels: channels of an image, which is at least 8 x 8 px.
    """

    def __init__(self, widths: Sequence[Sequence[int]], classes: int, channels: int = 3) -> None:
        super().__init__()
        inputs = [channels, *(block[-1] for block in widths)]
        self.block0, self.block1, self.block2, self.block3, self.block4 = (
            _block(wide, block) for wide, block in zip(inputs, widths, strict=False)
        )
        self.classifier = nn.Linear(inputs[-1], classes)
        he_initialize(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def features(self, x: Tensor) -> Tensor:
        """Global average [B, 512] of the last block, for images `x` [B, channels, H, W]."""
        for block in (self.block0, self.block1, self.block2):
            x = max_pool2d(relu(block(x), inplace=True), 2)
        for block in (self.block3, self.block4):
            x = relu(block(x), inplace=True)
        return x.mean((2, 3))


def _block(inputs: int, widths: Sequence[int]) -> nn.Sequential:
    """Convolution, normalization, and ReLU for each width, without the last ReLU."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers[:-1])
