"""The progress of a run, as rules compute with it."""

import torch
from torch import Tensor

__all__ = ["as_tensor"]


def as_tensor(progress: float | Tensor, like: Tensor) -> Tensor:
    """Progress as a tensor of shape [] or [B], with the dtype and device of `like`."""
    if isinstance(progress, Tensor):
        return progress.to(like)
    return torch.full((), progress, dtype=like.dtype, device=like.device)
