"""Networks of one's own: those that a program registers, and those of a module that a recipe names."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rltemp.errors import InputError, first_line, short
from rltemp.importing import import_named
from rltemp.networks.external import ExternalNetwork
from rltemp.networks.network import Network

__all__ = ["OwnBuilder", "code_of", "import_builder", "own_network"]

OwnBuilder = Callable[..., nn.Module]
"""Builds a module from the number of classes, the shape of one instance, and options; a class of modules is one."""

_LIBRARIES = ("rltemp", "torch", "torchvision", "timm")


def own_network(builder: OwnBuilder, classes: int, in_shape: Sequence[int], /, **options: Any) -> Network:
    """Build a network of one's own.

    Args:
        builder: gives a `Network`, or any module that maps instances [B, ...] to logits [B, C] and ends in an
            `nn.Linear`.
        classes: number of logits C.
        in_shape: shape of one instance.
        **options: of the builder.

    Raises:
        InputError: for a builder that fails, or gives something else.
    """
    try:
        network = builder(classes, tuple(in_shape), **options)
    except InputError:
        raise
    except Exception as error:  # of a user's module, whatever it raises
        wanted = f"builder must build for {classes} classes and instances {tuple(in_shape)}"
        raise InputError(f"{wanted}, got {type(error).__name__}: {first_line(error)}") from error
    if isinstance(network, Network):
        return network
    if not isinstance(network, nn.Module):
        raise InputError(f"builder must give a torch.nn.Module, got {type(network).__name__}")
    return ExternalNetwork(network, classes)


def import_builder(name: str, allow_code: bool) -> OwnBuilder:
    """The builder that `name`, MODULE:NAME, stands for; importing a module runs it.

    Raises:
        InputError: without leave to run code, or for a module that has no such builder.
    """
    hint = " (libraries are torchvision:NAME and timm:NAME)"
    builder = import_named("name", name, "MODULE:NAME of a network", allow_code, hint=hint)
    if not callable(builder):
        raise InputError(f"name must be MODULE:NAME of a network, got {short(name)}, which cannot be called")
    own: OwnBuilder = builder
    return own


def code_of(network: nn.Module) -> list[str]:
    """Digests of the files that define the network's own classes; none for a network of a library.

    A network that was trained by other code must not be taken for this one.
    """
    kinds = {type(module) for module in network.modules()}
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] not in _LIBRARIES]
    files = {inspect.getsourcefile(kind) for kind in own}
    return sorted(hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files if file and Path(file).exists())
