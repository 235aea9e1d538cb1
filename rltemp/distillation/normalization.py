"""Batch normalization as a part of a run's state: its layers, and what their running statistics take from a batch."""

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
    """Mean and unbiased variance [C] of one batch in a layer: what its running statistics move towards."""

    mean: Tensor
    variance: Tensor


class Normalization(NamedTuple):
    """A layer of batch normalization that keeps running statistics, as students hold it: [C], stacked [K, C].

    Attributes:
        name: of the layer in its network.
        layer: its settings; stacked students hold the tensors elsewhere.
        weight: None where the layer has none of its own.
        bias: likewise.
        mean: running mean.
        variance: running variance.
        batches: how many batches it has met.
    """

    name: str
    layer: _BatchNorm
    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    variance: Tensor
    batches: Tensor


def normalizations(network: nn.Module, state: Mapping[str, Tensor]) -> list[Normalization]:
    """The layers of a network whose parameters and buffers are in `state` by name."""
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
    """Inside the block, what each of `normalizations` takes from its batches, in the order of its calls, with graph."""
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
