"""From the host to an accelerator, without the host waiting until the accelerator has caught up."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rltemp.tracing import is_transformed

__all__ = ["filled", "progress_tensor", "to_device"]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU, such as what was drawn from a generator there, on `device`.

    Work that is queued on `device` afterwards finds it there.
    """
    if tensor.is_cpu and device.type == "cuda" and not is_transformed():
        # From pageable memory the driver would wait for all that is queued before.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=tensor.is_cpu)


def filled(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers [N] that are known to the host, filled in on `device`: `torch.tensor` would copy them there, and wait."""
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values])


def progress_tensor(progress: float | Tensor, like: Tensor) -> Tensor:
    """The progress of a run as a tensor of shape [] or [B], with the dtype and device of `like`."""
    if isinstance(progress, Tensor):
        return progress.to(like)
    return torch.full((), progress, dtype=like.dtype, device=like.device)
