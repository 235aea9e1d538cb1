"""How networks run: precision, memory layout, compilation."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from rltemp.networks.network import Network

__all__ = ["Execution"]

M = TypeVar("M", bound=nn.Module)


@dataclasses.dataclass(frozen=True)
class Execution:
    """Runs networks in a given precision and layout; what goes in and comes out is as without.

    Attributes:
        dtype: what the layers before the classifier compute in, by autocast; their parameters stay as they are.
        channels_last: keep the channels of a pixel together.
        compile: compile these layers, once for all networks of one architecture.
    """

    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    compile: bool = False

    def prepare(self, module: M) -> M:
        """Bring the parameters of `module` into the layout, in place."""
        return module.to(memory_format=torch.channels_last) if self.channels_last else module

    def features(self, network: Network, images: Tensor) -> Tensor:
        """The input of the classifier, [B, H], for `images` [B, ...]; never of lower precision than float32."""
        if self.channels_last and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        run = _compiled() if self.compile else _features
        if self.dtype == torch.float32:
            return run(network, images)
        with torch.autocast(images.device.type, self.dtype):
            return run(network, images).float()

    def logits(self, network: Network, images: Tensor) -> Tensor:
        """Logits [B, C] of `images` [B, ...]."""
        logits: Tensor = network.classifier(self.features(network, images))
        return logits


def _features(network: Network, images: Tensor) -> Tensor:
    return network.features(images)


@functools.cache
def _compiled() -> Callable[[Network, Tensor], Tensor]:
    compiled: Callable[[Network, Tensor], Tensor] = torch.compile(_features)
    return compiled
