"""How networks run: precision, memory layout, compilation."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from rltemp.networks.network import Network

__all__ = ["Execution", "native_dtype"]

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
        # Stacked students' images have one more dimension underneath, and no such layout.
        if self.channels_last and images.ndim == 4 and not torch._C._functorch.is_batchedtensor(images):
            images = images.contiguous(memory_format=torch.channels_last)
        run: Callable[[Network, Tensor], Tensor] = _compiled() if self.compile else _features
        if self.dtype == torch.float32:
            return run(network, images)
        with torch.autocast(images.device.type, self.dtype):
            return run(network, images).float()


def _features(network: Network, images: Tensor) -> Tensor:
    return network.features(images)


def native_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where `device` has units for it, and float32 elsewhere, where every product would be converted twice.

    The device is asked and nothing is timed, so that a machine always gives the same answer.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.bfloat16 if native else torch.float32


class _Compiled:
    """`_features`, compiled; as it is from the first call on that cannot be compiled, for want of a compiler, say."""

    def __init__(self) -> None:
        from torch._dynamo.exc import TorchDynamoException  # takes a second to import

        self._failure = TorchDynamoException
        self._run: Callable[[Network, Tensor], Tensor] = torch.compile(_features)

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        try:
            return self._run(network, images)
        except self._failure as error:
            reason = " ".join(str(error).splitlines()[:2])  # who failed, and why
            warnings.warn(f"networks run uncompiled, since compiling failed: {reason}", stacklevel=2)
            self._run = _features
            return _features(network, images)


@functools.cache
def _compiled() -> _Compiled:
    return _Compiled()
