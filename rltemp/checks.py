"""Checks of tensors at the public boundary.

Shape and dtype checks are free and always run. Checks of values read the data. A compiler cannot trace that and
`torch.func` transforms forbid it, and on an accelerator the host would have to wait at every look until all queued work
is done. So values are checked on the CPU alone (see `values_are_readable`): on an accelerator NaN goes in and NaN comes
out, and the same call on tensors moved to the CPU says what is wrong. A `DistillationRun` looks now and then.
"""

import contextlib
import contextvars
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from rltemp.errors import InputError

__all__ = [
    "check_finite",
    "check_logit_shapes",
    "check_logits",
    "check_number",
    "check_positive",
    "check_targets",
    "check_vector",
    "checks_values",
    "unchecked",
    "values_are_readable",
]

_CHECKS_VALUES = contextvars.ContextVar("checks_values", default=True)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Let values pass unread inside the block, NaN among them; shapes are still checked."""
    token = _CHECKS_VALUES.set(False)
    try:
        yield
    finally:
        _CHECKS_VALUES.reset(token)


def checks_values() -> bool:
    """Whether values are to be checked: not inside `unchecked`."""
    return _CHECKS_VALUES.get()


def values_are_readable(tensor: Tensor) -> bool:
    """Whether Python may branch on the values of `tensor`.

    Only on the CPU; not while compiling, exporting or inside `torch.func`, nor inside `unchecked`.
    """
    if torch.compiler.is_compiling() or not tensor.is_cpu or not checks_values():
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity."""
    if not values_are_readable(tensor):
        return
    # A finite sum proves every term finite at a tenth of the cost; a sum that overflowed proves nothing.
    if not math.isfinite(tensor.detach().sum().item()) and not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise InputError(f"{name} must be finite, got {bad} NaN or infinite values of {tensor.numel()}")


def check_positive(name: str, tensor: Tensor) -> None:
    """Refuse anything but finite values > 0."""
    if not values_are_readable(tensor):
        return
    low, high = (bound.item() for bound in tensor.detach().aminmax())
    if not 0.0 < low <= high < math.inf:
        raise InputError(f"{name} must be > 0 and finite, got values from {low:g} to {high:g}")


def check_number(
    name: str, value: object, low: float = -math.inf, high: float = math.inf, *, low_open: bool = False
) -> float:
    """Return an option as a float; refuse anything but a finite number in [low, high], or (low, high] if `low_open`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{name} must be a number, got {type(value).__name__}")
    if not (math.isfinite(value) and low <= value <= high and not (low_open and value == low)):
        want = f"> {low:g}" if low_open else f">= {low:g}"
        if math.isfinite(high):
            want += f" and <= {high:g}"
        raise InputError(f"{name} must be finite and {want}, got {value:g}")
    return float(value)


def check_vector(name: str, tensor: Tensor, length: int | None = None) -> None:
    """Refuse anything but a floating-point tensor of shape [B], where B is `length` if given."""
    if not isinstance(tensor, Tensor):
        raise InputError(f"{name} must be a tensor of shape [B], got {type(tensor).__name__}")
    if tensor.ndim != 1 or (length is not None and tensor.shape[0] != length):
        want = "[B]" if length is None else f"[{length}]"
        raise InputError(f"{name} must have shape {want}, one value per instance, got {list(tensor.shape)}")
    if not tensor.is_floating_point():
        raise InputError(f"{name} must be floating point, got {tensor.dtype}")


def check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Refuse anything but two finite floating-point tensors of one shape [B, C], B >= 1, C >= 2."""
    check_logit_shapes(student_logits, teacher_logits)
    check_finite("student_logits", student_logits)
    check_finite("teacher_logits", teacher_logits)


def check_logit_shapes(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Refuse anything but two floating-point tensors of one shape [B, C], B >= 1, C >= 2; their values go unread."""
    for name, logits in (("student_logits", student_logits), ("teacher_logits", teacher_logits)):
        if not isinstance(logits, Tensor):
            raise InputError(f"{name} must be a tensor of shape [B, C], got {type(logits).__name__}")
        if logits.ndim != 2 or logits.shape[0] < 1 or logits.shape[1] < 2:
            raise InputError(f"{name} must have shape [B, C] with B >= 1 and C >= 2, got {list(logits.shape)}")
        if not logits.is_floating_point():
            raise InputError(f"{name} must be floating point, got {logits.dtype}")
    if student_logits.shape[1] != teacher_logits.shape[1]:
        raise InputError(
            "student_logits and teacher_logits must have the same number of classes, "
            f"got {student_logits.shape[1]} and {teacher_logits.shape[1]}"
        )
    if student_logits.shape[0] != teacher_logits.shape[0]:
        raise InputError(
            "student_logits and teacher_logits must have the same number of instances, "
            f"got {student_logits.shape[0]} and {teacher_logits.shape[0]}"
        )
    if student_logits.device != teacher_logits.device:
        raise InputError(
            "student_logits and teacher_logits must be on one device, "
            f"got {student_logits.device} and {teacher_logits.device}"
        )


def check_targets(targets: Tensor, batch: int, classes: int) -> None:
    """Refuse anything but integer class indices of shape [B] in [0, C)."""
    if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.shape[0] != batch:
        got = list(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(f"targets must have shape [{batch}], one class index per instance, got {got}")
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise InputError(f"targets must be integer class indices, got {targets.dtype}")
    if values_are_readable(targets):
        low, high = (int(bound) for bound in targets.aminmax())
        if not 0 <= low <= high < classes:
            raise InputError(f"targets must lie in [0, {classes}), got values from {low} to {high}")
