"""A bounded number of augmented views of every training image, and what the teacher says of each.

Where images are augmented anew every time, the teacher, often the dearest part of a run, has to be asked every time.
With V views of each image, drawn once, it is asked once per view, for all epochs, students and policies. Without random
augmentation one view is all there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from rltemp.data import Augmentation, Dataset
from rltemp.errors import InputError
from rltemp.files import atomic_write

__all__ = ["BANK_CHUNK", "Views", "teacher_bank"]

BANK_CHUNK = 500
"""Views that the teacher is asked about at a time."""


class Views:
    """V views of each of N images; row v * N + i is view v of image i.

    Args:
        dataset: N images.
        augmentation: drawn V times per image, here and never again.
        count: V >= 1.
        generator: draws the views.

    Raises:
        InputError: for a count < 1.
    """

    def __init__(self, dataset: Dataset, augmentation: Augmentation, count: int, generator: torch.Generator) -> None:
        if count < 1:
            raise InputError(f"data.views must be >= 1, got {count}")
        self.count = count
        self._dataset = dataset
        self._augmentation = augmentation
        self._draws = tuple(draw.to(dataset.device) for draw in augmentation.draw(count * len(dataset), generator))

    def __len__(self) -> int:
        """Rows in all, V * N."""
        return self.count * len(self._dataset)

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self._dataset.device

    def fingerprint(self) -> str:
        """Changes with the images and with what is done to them."""
        digest = hashlib.sha256(repr(self._augmentation).encode())
        for tensor in (self._dataset.images, *self._draws):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def choose(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Rows [B]: a random view of each of the images at `indices` [B]."""
        if self.count == 1:
            return indices
        view = torch.randint(self.count, indices.shape, generator=generator)
        return view * len(self._dataset) + indices

    def look(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Augmented images [M, ...] and targets [M] of `rows` [M]."""
        indices = rows % len(self._dataset)
        draws = tuple(draw[rows] for draw in self._draws)
        return self._augmentation.apply(self._dataset.images[indices], draws), self._dataset.targets[indices]


def teacher_bank(
    views: Views,
    teacher: nn.Module,
    *,
    cache: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Tensor:
    """The teacher's logits [V * N, C] of all views.

    Args:
        views: of the training images.
        teacher: maps images [M, ...] to logits [M, C].
        cache: folder where the logits are kept and looked for.
        advance: called after every `BANK_CHUNK` views.
    """
    kept = None if cache is None else cache / f"{_fingerprint(views, teacher)}-logits.safetensors"
    bank = _read(kept, len(views)) if kept is not None else None
    if bank is not None:
        return bank.to(views.device)
    parts: list[Tensor] = []
    for rows in torch.arange(len(views), device=views.device).split(BANK_CHUNK):
        parts.append(teacher(views.look(rows)[0]))
        advance()
    bank = torch.cat(parts)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(kept, safetensors.torch.save({"logits": bank.cpu()}))
    return bank


def _fingerprint(views: Views, teacher: nn.Module) -> str:
    """Changes with the images, what is done to them, and the teacher."""
    digest = hashlib.sha256(views.fingerprint().encode())
    for name, value in teacher.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    digest.update(repr(getattr(teacher, "execution", None)).encode())
    return digest.hexdigest()[:16]


def _read(path: Path, rows: int) -> Tensor | None:
    """The logits at `path`; None if there are none, or none that can be read."""
    try:
        logits = safetensors.torch.load_file(path)["logits"]
    except (OSError, KeyError, safetensors.SafetensorError):
        return None
    return logits if len(logits) == rows else None
