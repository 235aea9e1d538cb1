"""The precision of losses and temperatures, whatever precision the networks run in."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["without_autocast", "working_precision"]


def working_precision(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Both logits [B, C] in float64 if either is, and in float32 otherwise.

    Half precision would overflow once divided by a small temperature.
    """
    wide = torch.float64 in (student_logits.dtype, teacher_logits.dtype)
    dtype = torch.float64 if wide else torch.float32
    return student_logits.to(dtype), teacher_logits.to(dtype)


def without_autocast(tensor: Tensor) -> AbstractContextManager[None]:
    """A context without autocast on the device of `tensor`: operations keep the dtype of their operands."""
    # `device.type` writes its text anew at every call, which takes as long as several operations.
    kind = "cpu" if tensor.is_cpu else tensor.device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
