"""Checks of arguments at the public boundary.

Shapes and dtypes are always checked. Checks of values read the data, which a compiler cannot trace, `torch.func`
transforms forbid, and an accelerator answers only after all queued work. Values are therefore checked on the CPU alone
(see `values_are_readable`): on an accelerator NaN inputs give NaN outputs, and the same call on CPU tensors gives the
error. A `DistillationRun` checks its students' logits every 50 updates on accelerators.
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
    "check_mask",
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
    """Skip the checks of values (NaN, infinity, ranges) inside the block; shapes and dtypes are still checked."""
    token = _CHECKS_VALUES.set(False)
    try:
        yield
    finally:
        _CHECKS_VALUES.reset(token)


def checks_values() -> bool:
    """Whether checks of values are on: everywhere but inside an `unchecked` block."""
    return _CHECKS_VALUES.get()


def values_are_readable(tensor: Tensor) -> bool:
    """Whether Python may branch on the values of `tensor`, of any shape.

    True on the CPU; false on accelerators, while compiling or exporting, inside `torch.func` transforms, and inside an
    `unchecked` block.
    """
    if torch.compiler.is_compiling() or not tensor.is_cpu or not checks_values():
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise `InputError`, which calls `tensor` [...] by `name`, if it holds NaN or infinity."""
    if not values_are_readable(tensor):
        return
    # A finite sum proves every term finite at a tenth of the cost; a sum that overflowed proves nothing.
    if not math.isfinite(tensor.detach().sum().item()) and not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise InputError(f"{name} must be finite, got {bad} NaN or infinite values of {tensor.numel()}")


def check_positive(name: str, tensor: Tensor) -> None:
    """Raise `InputError`, which calls `tensor` [...] by `name`, unless all values are > 0 and finite."""
    if not values_are_readable(tensor) or tensor.numel() == 0:
        return
    smallest, largest = tensor.detach().aminmax()
    low, high = smallest.item(), largest.item()
    if not 0.0 < low <= high < math.inf:
        raise InputError(f"{name} must be > 0 and finite, got values from {low:g} to {high:g}")


def check_number(
    name: str, value: object, low: float = -math.inf, high: float = math.inf, *, low_open: bool = False
) -> float:
    """Return `value` as a float; raise `InputError` unless it is a finite number in [low, high].

    Args:
        name: what the error calls the value.
        value: what to check; a bool is no number.
        low: smallest number allowed.
        high: largest number allowed.
        low_open: exclude `low` itself.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{name} must be a number, got {type(value).__name__}")
    if not (math.isfinite(value) and low <= value <= high and not (low_open and value == low)):
        want = f"> {low:g}" if low_open else f">= {low:g}"
        if math.isfinite(high):
            want += f" and <= {high:g}"
        raise InputError(f"{name} must be finite and {want}, got {value:g}")
    return float(value)


def check_vector(name: str, tensor: Tensor, length: int | None = None) -> None:
    """Raise `InputError` unless `tensor` is floating point of shape [B], with B = `length` if that is given."""
    if not isinstance(tensor, Tensor):
        raise InputError(f"{name} must be a tensor of shape [B], got {type(tensor).__name__}")
    if tensor.ndim != 1 or (length is not None and tensor.shape[0] != length):
        want = "[B]" if length is None else f"[{length}]"
        raise InputError(f"{name} must have shape {want}, one value per instance, got {list(tensor.shape)}")
    if not tensor.is_floating_point():
        raise InputError(f"{name} must be floating point, got {tensor.dtype}")


def check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Raise `InputError` unless both logits are finite floating-point tensors of one shape [B, C], B >= 1, C >= 2."""
    check_logit_shapes(student_logits, teacher_logits)
    check_finite("student_logits", student_logits)
    check_finite("teacher_logits", teacher_logits)


def check_logit_shapes(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Raise `InputError` unless both logits are floating point of one shape [B, C], B >= 1, C >= 2, on one device.

    Their values are not read.
    """
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
    """Raise `InputError` unless `targets` are integer class indices of shape [batch], in [0, classes)."""
    if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.shape[0] != batch:
        got = list(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(f"targets must have shape [{batch}], one class index per instance, got {got}")
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise InputError(f"targets must be integer class indices, got {targets.dtype}")
    if values_are_readable(targets):
        low, high = (int(bound) for bound in targets.aminmax())
        if not 0 <= low <= high < classes:
            raise InputError(f"targets must lie in [0, {classes}), got values from {low} to {high}")


def check_mask(mask: Tensor, shape: torch.Size) -> None:
    """Raise `InputError` unless `mask` is bool of `shape`."""
    if not isinstance(mask, Tensor) or mask.shape != shape or mask.dtype != torch.bool:
        got = f"{mask.dtype} of {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"mask must be bool of shape {list(shape)}, got {got}")
