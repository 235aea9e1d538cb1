"""Copies from the host to an accelerator that do not make the host wait for queued work."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rltemp.tracing import is_transformed

__all__ = ["filled", "progress_tensor", "to_device"]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU, such as numbers drawn from a generator, to `device` without waiting.

    Work that is queued on `device` afterwards sees the copied values.
    """
    if tensor.is_cpu and device.type == "cuda" and not is_transformed():
        # From pageable memory, the driver would wait for all work queued before.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=tensor.is_cpu)


def filled(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The numbers `values` as a tensor [N] on `device`; `torch.tensor` would copy them from the host, and wait."""
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values])


def progress_tensor(progress: float | Tensor, like: Tensor) -> Tensor:
    """The progress of a run, in [0, 1], as a tensor of shape [] or [B] with the dtype and device of `like`."""
    if isinstance(progress, Tensor):
        return progress.to(like)
    return torch.full((), progress, dtype=like.dtype, device=like.device)
