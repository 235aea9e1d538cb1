"""A bounded number of augmented views of every training image, and what the teacher says of each.

Where images are augmented anew every time, the teacher, often the dearest part of a run, has to be asked every time.
With V views of each image, drawn once, it is asked once per view, for all epochs, students and policies. Without random
augmentation one view is all there is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rltemp.data import Augmentation, Dataset
from rltemp.errors import InputError

__all__ = ["Views", "teacher_bank"]

_CHUNK = 500


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
    views: Views, teacher: Callable[[Tensor], Tensor], advance: Callable[[], None] = lambda: None
) -> Tensor:
    """The teacher's logits [V * N, C] of all views.

    Args:
        views: of the training images.
        teacher: maps images [M, ...] to logits [M, C].
        advance: called after every 500 views.
    """
    rows = torch.arange(len(views)).split(_CHUNK)
    bank: list[Tensor] = []
    for part in rows:
        bank.append(teacher(views.look(part)[0]))
        advance()
    return torch.cat(bank)
