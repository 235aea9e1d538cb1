"""Building of networks by name."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch

from rltemp.errors import InputError, short
from rltemp.networks.cnn import CNN
from rltemp.networks.cnn1d import CNN1d
from rltemp.networks.external import timm_network, torchvision_network
from rltemp.networks.gpt import GPT
from rltemp.networks.initialization import seeded_by
from rltemp.networks.mlp import MLP
from rltemp.networks.mobilenetv1 import MobileNetV1
from rltemp.networks.mobilenetv2 import MobileNetV2
from rltemp.networks.network import Network
from rltemp.networks.own import OwnBuilder, import_builder, own_network
from rltemp.networks.resnet import cifar_resnet, resnet50
from rltemp.networks.shufflenetv1 import ShuffleNetV1
from rltemp.networks.shufflenetv2 import ShuffleNetV2
from rltemp.networks.text import TextBag, TextCNN
from rltemp.networks.vgg import VGG, VGG_BLOCKS
from rltemp.networks.wrn import WideResNet

__all__ = ["LIBRARIES", "check_options", "find_network", "list_networks", "make_network", "register_network"]

Builder = Callable[..., Network]
"""Builds a network from the number of classes, the shape of one image, and options."""

_WIDEST = 16384
_MOST_BUCKETS = 1 << 20


class _Architecture(NamedTuple):
    """What the registry knows of a name.

    Attributes:
        line: one line of description.
        build: builds the network.
        check: takes the options alone, and raises `InputError` for those that `build` could not take.
    """

    line: str
    build: Builder
    check: Callable[..., None]


def _mlp(classes: int, in_shape: Sequence[int], *, hidden: Sequence[int] = (256, 256)) -> Network:
    return MLP([math.prod(in_shape), *hidden, classes])


def _check_mlp(*, hidden: object = ()) -> None:
    if not _are_widths(hidden):
        raise InputError(f"hidden must be a list of widths in [1, {_WIDEST}], got {hidden!r}")


def _cnn(classes: int, in_shape: Sequence[int], *, channels: Sequence[int] = (16, 32, 32, 64)) -> Network:
    return CNN(channels, classes, _image_channels(in_shape))


def _check_cnn(*, channels: object = (1,)) -> None:
    if not channels or not _are_widths(channels):
        raise InputError(f"channels must be at least one width in [1, {_WIDEST}], got {channels!r}")


def _cnn1d(classes: int, in_shape: Sequence[int], *, channels: Sequence[int] = (16, 32, 32)) -> Network:
    if len(in_shape) != 2:
        raise InputError(f"in_shape must be (channels, length) of a signal, got {tuple(in_shape)}")
    return CNN1d(channels, classes, in_shape[0])


def _text_bag(classes: int, in_shape: Sequence[int], *, width: int = 16, buckets: int = 8192) -> Network:
    _check_text(in_shape)
    return TextBag(width, classes, buckets)


def _text_cnn(
    classes: int, in_shape: Sequence[int], *, width: int = 16, channels: int = 32, buckets: int = 8192
) -> Network:
    _check_text(in_shape)
    return TextCNN(width, channels, classes, buckets)


def _gpt(classes: int, in_shape: Sequence[int], *, width: int = 64, layers: int = 2, heads: int = 4) -> Network:
    _check_text(in_shape)
    return GPT(width, layers, heads, classes, in_shape[0])


def _check_gpt(*, width: object = 4, layers: object = 1, heads: object = 1) -> None:
    for name, value in (("width", width), ("layers", layers), ("heads", heads)):
        if not _are_widths([value]):
            raise InputError(f"{name} must lie in [1, {_WIDEST}], got {value!r}")


def _check_text(in_shape: Sequence[int]) -> None:
    if len(in_shape) != 1:
        raise InputError(f"in_shape must be (length,) of a text of token ids, got {tuple(in_shape)}")


def _check_text_bag(*, width: object = 1, buckets: object = 2) -> None:
    if not _are_widths([width]):
        raise InputError(f"width must lie in [1, {_WIDEST}], got {width!r}")
    if not isinstance(buckets, Integral) or isinstance(buckets, bool) or not 2 <= int(buckets) <= _MOST_BUCKETS:
        raise InputError(f"buckets must lie in [2, {_MOST_BUCKETS}], got {buckets!r}")


def _check_text_cnn(*, width: object = 1, channels: object = 1, buckets: object = 2) -> None:
    _check_text_bag(width=width, buckets=buckets)
    if not _are_widths([channels]):
        raise InputError(f"channels must lie in [1, {_WIDEST}], got {channels!r}")


def _check_nothing() -> None:
    """Check of a network without options: takes none."""


def _are_widths(value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return False
    return all(
        isinstance(part, Integral) and not isinstance(part, bool) and 1 <= int(part) <= _WIDEST for part in value
    )


def _fixed(line: str, build: Builder, *sizes: Any) -> _Architecture:
    """A network without options: `build` takes `sizes`, then the classes and the channels of an image."""

    def builder(classes: int, in_shape: Sequence[int]) -> Network:
        return build(*sizes, classes, _image_channels(in_shape))

    return _Architecture(line, builder, _check_nothing)


def _image_channels(in_shape: Sequence[int]) -> int:
    if len(in_shape) != 3 or min(in_shape[1:]) < 8:
        raise InputError(f"in_shape must be (channels, height, width) of at least 8 x 8 px, got {tuple(in_shape)}")
    return in_shape[0]


_NARROW, _WIDE = (16, 16, 32, 64), (32, 64, 128, 256)
_NETWORKS: dict[str, _Architecture] = {
    "mlp": _Architecture("multilayer perceptron; hidden: widths between input and logits", _mlp, _check_mlp),
    "cnn": _Architecture("plain convolutional network; channels: width of each layer", _cnn, _check_cnn),
    "cnn1d": _Architecture("convolutional network for signals; channels: width of each layer", _cnn1d, _check_cnn),
    "text-bag": _Architecture(
        "mean of word vectors; width: of a vector, buckets: vectors in the table", _text_bag, _check_text_bag
    ),
    "text-cnn": _Architecture(
        "convolutions over word vectors; width and buckets as in text-bag, channels: per kernel size",
        _text_cnn,
        _check_text_cnn,
    ),
    "gpt": _Architecture("causal transformer over tokens; width, layers, heads", _gpt, _check_gpt),
    **{
        f"resnet{depth}": _fixed(f"residual network, {depth} layers of 16 to 64 channels", cifar_resnet, depth, _NARROW)
        for depth in (8, 14, 20, 32, 44, 56, 110)
    },
    **{
        f"resnet{depth}x4": _fixed(
            f"residual network, {depth} layers of 32 to 256 channels", cifar_resnet, depth, _WIDE
        )
        for depth in (8, 32)
    },
    "resnet50": _fixed("ResNet-50 with a stem for small images", resnet50),
    **{
        f"wrn_{depth}_{widen}": _fixed(
            f"wide residual network, {depth} layers, width {widen}", WideResNet, depth, widen
        )
        for depth in (16, 40)
        for widen in (1, 2)
    },
    **{
        name: _fixed(f"VGG with batch normalization, {name[3:]} layers", VGG, blocks)
        for name, blocks in VGG_BLOCKS.items()
    },
    "mobilenetv1": _fixed("MobileNet for images of 224 x 224 px", MobileNetV1),
    "mobilenetv2": _fixed("MobileNetV2 of half the width", MobileNetV2),
    "shufflenetv1": _fixed("ShuffleNet with three groups", ShuffleNetV1),
    "shufflenetv2": _fixed("ShuffleNetV2 1x", ShuffleNetV2),
}
LIBRARIES: dict[str, tuple[str, Builder]] = {
    "torchvision": ("any classification model of torchvision; options of its constructor", torchvision_network),
    "timm": ("any model of timm, if installed; options of its constructor", timm_network),
}


_REGISTERED: dict[str, OwnBuilder] = {}


def list_networks() -> dict[str, str]:
    """Names that `make_network` takes, each with one line; NAME stands for any name of that library or module."""
    return {
        **{name: architecture.line for name, architecture in _NETWORKS.items()},
        **{name: _line_of(builder) for name, builder in _REGISTERED.items()},
        **{f"{library}:NAME": line for library, (line, _) in LIBRARIES.items()},
        "MODULE:NAME": "a network of a module on the Python path, by leave of allow_code",
    }


def register_network(name: str, builder: OwnBuilder) -> None:
    """Let recipes name a network of one's own, in this process.

    Args:
        name: what a recipe says; registering it again replaces it.
        builder: called with the number of classes, the shape of one instance and the options of the recipe; a class of
            modules is one. It gives a `Network`, or any module whose last layer is an `nn.Linear` with the logits.

    Raises:
        InputError: for a name of the package's own, one with a colon, or a builder that cannot be called.
    """
    if name in _NETWORKS or ":" in name or not name:
        raise InputError(f"name must be none of {', '.join(_NETWORKS)} and without a colon, got {short(name)}")
    if not callable(builder):
        raise InputError(f"builder must be called with classes and a shape, got {short(builder)}")
    _REGISTERED[name] = builder


def make_network(
    name: str,
    classes: int,
    in_shape: Sequence[int],
    generator: torch.Generator,
    *,
    allow_code: bool = False,
    **options: Any,
) -> Network:
    """Build a freshly initialized network on the CPU.

    Args:
        name: one of `list_networks()`.
        classes: number of logits C, >= 2.
        in_shape: shape of one image, e.g. (3, 32, 32).
        generator: draws the initial parameters; the same state gives the same network, and no global state changes.
        allow_code: whether a module that `name` names may be imported, which runs its code.
        **options: of the network, e.g. hidden=(16,) for "mlp" or channels=(16, 32) for "cnn".

    Raises:
        InputError: for an unknown name or option, or classes and shapes the network cannot have.
    """
    architecture = find_network(name, allow_code=allow_code)
    if classes < 2:
        raise InputError(f"classes must be >= 2, got {classes}")
    if not in_shape or min(in_shape) < 1:
        raise InputError(f"in_shape must be the shape of one image, sizes >= 1, got {tuple(in_shape)}")
    check_options(name, options, allow_code=allow_code)
    with seeded_by(generator):
        return architecture.build(classes, in_shape, **options)


def find_network(name: str, *, allow_code: bool = False) -> _Architecture:
    """The registry's entry for `name`; models of other libraries have no check of their options.

    Raises:
        InputError: for an unknown name, or a module without leave.
    """
    library, separator, model = name.partition(":")
    if separator and library in LIBRARIES:
        line, build = LIBRARIES[library]
        return _Architecture(line, functools.partial(build, model), lambda **options: None)
    if separator or name in _REGISTERED:
        return _of_builder(import_builder(name, allow_code) if separator else _REGISTERED[name])
    if name not in _NETWORKS:
        raise InputError(f"name must be one of {', '.join(list_networks())}, got {name!r}")
    return _NETWORKS[name]


def check_options(name: str, options: Mapping[str, Any], *, allow_code: bool = False) -> None:
    """Raise `InputError` for options that the network `name` does not take, before classes and images are known.

    Raises:
        InputError: for an unknown name or option, or an option of another type or size.
    """
    check = find_network(name, allow_code=allow_code).check
    try:
        inspect.signature(make_network).bind(name, 2, (1,), None, **options)
        inspect.signature(check).bind(**options)
    except TypeError as error:
        raise InputError(f"options of {name!r} must be ones it takes, got {dict(options)}: {error}") from error
    check(**options)


def _of_builder(builder: OwnBuilder) -> _Architecture:
    def check(**options: Any) -> None:
        try:
            inspect.signature(builder).bind(2, (1,), **options)
        except TypeError as error:
            raise InputError(f"options must be ones that the network takes, got {options}: {error}") from error

    return _Architecture(_line_of(builder), functools.partial(own_network, builder), check)


def _line_of(builder: OwnBuilder) -> str:
    return (inspect.getdoc(builder) or "a network of one's own").splitlines()[0]
