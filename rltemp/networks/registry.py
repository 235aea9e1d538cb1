"""Networks by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from rltemp.errors import InputError
from rltemp.networks.initialization import seeded_by
from rltemp.networks.mlp import MLP

__all__ = ["list_networks", "make_network"]

Builder = Callable[..., nn.Module]


def _mlp(classes: int, in_shape: Sequence[int], hidden: Sequence[int] = (256, 256)) -> nn.Module:
    return MLP([math.prod(in_shape), *hidden, classes])


_BUILDERS: dict[str, tuple[str, Builder]] = {
    "mlp": ("multilayer perceptron; option hidden, the widths between input and logits", _mlp),
}


def list_networks() -> dict[str, str]:
    """Names `make_network` knows, with one line each."""
    return {name: line for name, (line, _) in _BUILDERS.items()}


def make_network(
    name: str, classes: int, in_shape: Sequence[int], generator: torch.Generator, **options: Any
) -> nn.Module:
    """Build a freshly initialized network on the CPU.

    Args:
        name: one of `list_networks()`.
        classes: number of logits C >= 2.
        in_shape: shape of one image, e.g. (3, 32, 32).
        generator: draws the initial parameters; the same state gives the same network, and no global state changes.
        **options: what the network takes besides, e.g. hidden=(16,) for "mlp".

    Raises:
        InputError: for an unknown name or option, or classes and shapes the network cannot have.
    """
    if name not in _BUILDERS:
        raise InputError(f"name must be one of {', '.join(_BUILDERS)}, got {name!r}")
    if classes < 2:
        raise InputError(f"classes must be >= 2, got {classes}")
    if not in_shape or min(in_shape) < 1:
        raise InputError(f"in_shape must be the shape of one image, sizes >= 1, got {tuple(in_shape)}")
    _, builder = _BUILDERS[name]
    with seeded_by(generator):
        try:
            return builder(classes, in_shape, **options)
        except TypeError as error:
            raise InputError(f"options of {name!r} must fit it, got {options}: {error}") from error
