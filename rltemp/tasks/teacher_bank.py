"""The teacher's logits for every view of the training images, computed once and kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rltemp.distillation.image_views import ImageViews
from rltemp.tasks.shelf import Shelf

__all__ = ["teacher_bank"]


def teacher_bank(
    views: ImageViews,
    teacher: nn.Module,
    *,
    shelf: Shelf | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Tensor:
    """The teacher's logits [V * N, C] for all V views of N training images, or [V * N, L, C] of windows of texts.

    They are on the device of the views.

    Args:
        views: of the training images.
        teacher: maps images [M, ...] to logits [M, C].
        shelf: where the logits are kept and looked for; None computes them every time.
        advance: called after every `BANK_CHUNK` views that are computed.
    """
    name = f"{_fingerprint(views, teacher)}-logits"
    shape = (views.rows, *views.label_shape)
    bank = None if shelf is None else _read(shelf, name, math.prod(shape))
    if bank is not None:
        return bank.to(views.device).view(*shape, -1)
    bank = views.ask(teacher, advance)
    if shelf is not None:
        shelf.keep(name, {"logits": bank})
    return bank.view(*shape, -1)


def _fingerprint(views: ImageViews, teacher: nn.Module) -> str:
    """Digest that changes with the images, their augmentation, or the teacher."""
    digest = hashlib.sha256(views.fingerprint().encode())
    for name, value in teacher.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    digest.update(repr(getattr(teacher, "execution", None)).encode())
    return digest.hexdigest()[:16]


def _read(shelf: Shelf, name: str, rows: int) -> Tensor | None:
    """The logits [rows, C] of this name; None if there are none, or they cannot be used."""
    logits = (shelf.read(name) or {}).get("logits")
    if logits is None or logits.ndim != 2 or len(logits) != rows or not logits.is_floating_point():
        return None
    return logits if bool(torch.isfinite(logits).all()) else None
