"""The teacher's logits for every view of the training images, computed once and kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from rltemp.distillation.image_views import ImageViews
from rltemp.errors import InputError
from rltemp.files import atomic_write
from rltemp.reading import read_safetensors

__all__ = ["teacher_bank"]


def teacher_bank(
    views: ImageViews,
    teacher: nn.Module,
    *,
    cache: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Tensor:
    """The teacher's logits [V * N, C] for all V views of N training images, or [V * N, L, C] of windows of texts.

    They are on the device of the views.

    Args:
        views: of the training images.
        teacher: maps images [M, ...] to logits [M, C].
        cache: folder where the logits are kept and looked for; None computes them every time.
        advance: called after every `BANK_CHUNK` views that are computed.
    """
    kept = None if cache is None else cache / f"{_fingerprint(views, teacher)}-logits.safetensors"
    shape = (views.rows, *views.label_shape)
    bank = _read(kept, math.prod(shape)) if kept is not None else None
    if bank is not None:
        return bank.to(views.device).view(*shape, -1)
    bank = views.ask(teacher, advance)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(kept, safetensors.torch.save({"logits": bank.cpu()}))
    return bank.view(*shape, -1)


def _fingerprint(views: ImageViews, teacher: nn.Module) -> str:
    """Digest that changes with the images, their augmentation, or the teacher."""
    digest = hashlib.sha256(views.fingerprint().encode())
    for name, value in teacher.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    digest.update(repr(getattr(teacher, "execution", None)).encode())
    return digest.hexdigest()[:16]


def _read(path: Path, rows: int) -> Tensor | None:
    """The logits [rows, C] in the cache at `path`; None if there are none, or they cannot be used."""
    try:
        logits = read_safetensors(path)["logits"]
    except (KeyError, InputError):
        return None
    fits = logits.ndim == 2 and len(logits) == rows and logits.is_floating_point()
    return logits if fits and bool(torch.isfinite(logits).all()) else None
