"""Networks by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rltemp.errors import InputError
from rltemp.networks.cnn import CNN
from rltemp.networks.external import timm_network, torchvision_network
from rltemp.networks.initialization import seeded_by
from rltemp.networks.mlp import MLP
from rltemp.networks.mobilenetv2 import MobileNetV2
from rltemp.networks.network import Network
from rltemp.networks.resnet import cifar_resnet, resnet50
from rltemp.networks.shufflenetv1 import ShuffleNetV1
from rltemp.networks.shufflenetv2 import ShuffleNetV2
from rltemp.networks.vgg import VGG, VGG_BLOCKS
from rltemp.networks.wrn import WideResNet

__all__ = ["list_networks", "make_network"]

Builder = Callable[..., Network]
"""Takes classes, in_shape and options."""


def _mlp(classes: int, in_shape: Sequence[int], *, hidden: Sequence[int] = (256, 256)) -> Network:
    return MLP([math.prod(in_shape), *hidden, classes])


def _cnn(classes: int, in_shape: Sequence[int], *, channels: Sequence[int] = (16, 32, 32, 64)) -> Network:
    return CNN(channels, classes, _image_channels(in_shape))


def _fixed(build: Builder, *sizes: Any) -> Builder:
    """A network without options: `build` of its sizes, the classes and the channels of an image."""

    def builder(classes: int, in_shape: Sequence[int]) -> Network:
        return build(*sizes, classes, _image_channels(in_shape))

    return builder


def _image_channels(in_shape: Sequence[int]) -> int:
    if len(in_shape) != 3 or min(in_shape[1:]) < 8:
        raise InputError(f"in_shape must be (channels, height, width) of at least 8 x 8 px, got {tuple(in_shape)}")
    return in_shape[0]


_NARROW, _WIDE = (16, 16, 32, 64), (32, 64, 128, 256)
_NETWORKS: dict[str, tuple[str, Builder]] = {
    "mlp": ("multilayer perceptron; hidden: widths between input and logits", _mlp),
    "cnn": ("plain convolutional network; channels: width of each layer", _cnn),
    **{
        f"resnet{depth}": (
            f"residual network, {depth} layers of 16 to 64 channels",
            _fixed(cifar_resnet, depth, _NARROW),
        )
        for depth in (8, 14, 20, 32, 44, 56, 110)
    },
    **{
        f"resnet{depth}x4": (
            f"residual network, {depth} layers of 32 to 256 channels",
            _fixed(cifar_resnet, depth, _WIDE),
        )
        for depth in (8, 32)
    },
    "resnet50": ("ResNet-50 with a stem for small images", _fixed(resnet50)),
    **{
        f"wrn_{depth}_{widen}": (
            f"wide residual network, {depth} layers, width {widen}",
            _fixed(WideResNet, depth, widen),
        )
        for depth in (16, 40)
        for widen in (1, 2)
    },
    **{
        name: (f"VGG with batch normalization, {name[3:]} layers", _fixed(VGG, blocks))
        for name, blocks in VGG_BLOCKS.items()
    },
    "mobilenetv2": ("MobileNetV2 of half the width", _fixed(MobileNetV2)),
    "shufflenetv1": ("ShuffleNet with three groups", _fixed(ShuffleNetV1)),
    "shufflenetv2": ("ShuffleNetV2 1x", _fixed(ShuffleNetV2)),
}
_LIBRARIES: dict[str, tuple[str, Builder]] = {
    "torchvision": ("any classification model of torchvision; options of its constructor", torchvision_network),
    "timm": ("any model of timm, if installed; options of its constructor", timm_network),
}


def list_networks() -> dict[str, str]:
    """Names `make_network` knows, with one line each; NAME stands for any name of that library."""
    return {
        **{name: line for name, (line, _) in _NETWORKS.items()},
        **{f"{library}:NAME": line for library, (line, _) in _LIBRARIES.items()},
    }


def make_network(
    name: str, classes: int, in_shape: Sequence[int], generator: torch.Generator, **options: Any
) -> Network:
    """Build a freshly initialized network on the CPU.

    Args:
        name: one of `list_networks()`.
        classes: number of logits C >= 2.
        in_shape: shape of one image, e.g. (3, 32, 32).
        generator: draws the initial parameters; the same state gives the same network, and no global state changes.
        **options: what the network takes besides, e.g. hidden=(16,) for "mlp" or channels=(16, 32) for "cnn".

    Raises:
        InputError: for an unknown name or option, or classes and shapes the network cannot have.
    """
    builder = _find(name)
    if classes < 2:
        raise InputError(f"classes must be >= 2, got {classes}")
    if not in_shape or min(in_shape) < 1:
        raise InputError(f"in_shape must be the shape of one image, sizes >= 1, got {tuple(in_shape)}")
    try:
        inspect.signature(builder).bind(classes, in_shape, **options)
    except TypeError as error:
        raise InputError(f"options of {name!r} must be ones it takes, got {options}: {error}") from error
    with seeded_by(generator):
        return builder(classes, in_shape, **options)


def _find(name: str) -> Builder:
    library, separator, model = name.partition(":")
    if separator and library in _LIBRARIES:
        build = _LIBRARIES[library][1]
        return lambda classes, in_shape, **options: build(model, classes, in_shape, **options)
    if name not in _NETWORKS:
        raise InputError(f"name must be one of {', '.join(list_networks())}, got {name!r}")
    return _NETWORKS[name][1]
