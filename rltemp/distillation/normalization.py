"""Batch normalization as state of a run: its layers, and the batch moments that move their running statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

__all__ = ["Moments", "Normalization", "normalizations", "watch_moments"]


class Moments(NamedTuple):
    """Mean and unbiased variance of one batch in a layer, [C] each, towards which its running statistics move."""

    mean: Tensor
    variance: Tensor


class Normalization(NamedTuple):
    """A batch normalization layer with running statistics; tensors are [C], or [K, C] for stacked students.

    Attributes:
        name: the layer's name in its network.
        layer: the module, for its settings alone: stacked students hold its tensors elsewhere.
        weight: None if the layer has no weight.
        bias: None if the layer has no bias.
        mean: running mean.
        variance: running variance.
        batches: number of batches seen so far; [], or [K] for stacked students.
    """

    name: str
    layer: _BatchNorm
    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    variance: Tensor
    batches: Tensor


def normalizations(network: nn.Module, state: Mapping[str, Tensor]) -> list[Normalization]:
    """The batch normalization layers of a network, with tensors from `state`.

    Args:
        network: the network, or the template of stacked students.
        state: parameters and buffers by name.
    """
    return [
        Normalization(
            name,
            layer,
            state.get(f"{name}.weight"),
            state.get(f"{name}.bias"),
            state[f"{name}.running_mean"],
            state[f"{name}.running_var"],
            state[f"{name}.num_batches_tracked"],
        )
        for name, layer in _layers(network).items()
    ]


@contextlib.contextmanager
def watch_moments(network: nn.Module) -> Iterator[list[list[Moments]]]:
    """Record the batch moments of each layer of `normalizations`, in the order of its calls, with their graph.

    The yielded list has one list per layer, which calls in training mode fill inside the block.
    """
    found: list[list[Moments]] = []
    with contextlib.ExitStack() as hooks:
        for layer in _layers(network).values():
            taken: list[Moments] = []
            hooks.enter_context(_hook(layer, taken))
            found.append(taken)
        yield found


def _layers(network: nn.Module) -> dict[str, _BatchNorm]:
    modules = network.named_modules()
    return {name: layer for name, layer in modules if isinstance(layer, _BatchNorm) and layer.running_mean is not None}


def _hook(layer: _BatchNorm, taken: list[Moments]) -> RemovableHandle:
    def take(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if layer.training and layer.track_running_stats:
            assert layer.running_mean is not None
            batch = inputs[0].to(layer.running_mean.dtype)
            over = [dimension for dimension in range(batch.ndim) if dimension != 1]
            variance, mean = torch.var_mean(batch, over)
            taken.append(Moments(mean, variance))

    return layer.register_forward_pre_hook(take)
