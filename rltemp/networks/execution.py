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
    """Runs networks in a given precision and layout, without changing the dtypes of their inputs and outputs.

    Attributes:
        dtype: dtype of the layers before the classifier, by autocast; their parameters keep their dtype.
        channels_last: use PyTorch's channels-last memory format for images and parameters.
        compile: compile the layers before the classifier, once for all networks of one architecture.
    """

    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    compile: bool = False

    def prepare(self, module: M) -> M:
        """Bring the parameters of `module` into the memory layout, in place, and return it."""
        return module.to(memory_format=torch.channels_last) if self.channels_last else module

    def features(self, network: Network, images: Tensor) -> Tensor:
        """The input of the classifier for `images` [B, ...], in float32 or higher precision.

        [B, H]; of networks of tokens [B * L, H], window after window, for here every position becomes an instance.
        """
        return self._features(network, images).flatten(0, -2)

    def logits(self, network: Network, images: Tensor) -> Tensor:
        """Logits [B, C] of `images` [B, ...], or [B * L, C] of windows [B, L]."""
        logits: Tensor = network.classifier(self.features(network, images))
        return logits

    def _features(self, network: Network, images: Tensor) -> Tensor:
        if self.channels_last and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        run = _compiled() if self.compile else _features
        if self.dtype == torch.float32:
            return run(network, images)
        with torch.autocast(images.device.type, self.dtype):
            return run(network, images).float()


def _features(network: Network, images: Tensor) -> Tensor:
    return network.features(images)


@functools.cache
def _compiled() -> Callable[[Network, Tensor], Tensor]:
    compiled: Callable[[Network, Tensor], Tensor] = torch.compile(_features)
    return compiled
