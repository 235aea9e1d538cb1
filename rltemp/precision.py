"""The precision losses and temperatures are computed in, whatever the networks run in."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["without_autocast", "working_precision"]


def working_precision(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 if either is, in float32 otherwise: half precision overflows once divided by a small T."""
    wide = torch.float64 in (student_logits.dtype, teacher_logits.dtype)
    dtype = torch.float64 if wide else torch.float32
    return student_logits.to(dtype), teacher_logits.to(dtype)


def without_autocast(tensor: Tensor) -> AbstractContextManager[None]:
    """A context in which operations keep their operands' dtype, on the device of `tensor`."""
    kind = tensor.device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
