"""The clean training images that the students of a population are probed with, drawn anew every few updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rltemp.data import Augmentation, Dataset
from rltemp.distillation.students import Output, Students
from rltemp.errors import InputError
from rltemp.seeding import make_generator
from rltemp.transfer import to_device

__all__ = ["ProbeImages"]


class ProbeImages:
    """Clean training images of K students, each student's drawn by its own seed.

    Args:
        data: N training images, of which clean versions are evaluated.
        augmentation: of the training images; only its deterministic transforms are applied.
        seeds: one per student; each draws the images of its own student.
        size: images per student and draw, >= 1, at most N.
        every: updates between two draws, >= 1.

    Raises:
        InputError: for a size or interval < 1.
    """

    def __init__(
        self, data: Dataset, augmentation: Augmentation, *, seeds: Sequence[int], size: int, every: int
    ) -> None:
        for name, value in (("probe_size", size), ("every", every)):
            if value < 1:
                raise InputError(f"{name} must be >= 1, got {value}")
        self._data = data
        self._augmentation = augmentation
        self._size = min(size, len(data))
        self._every = every
        self._generators = [make_generator(seed, "probe") for seed in seeds]
        self._age = 0

    @property
    def device(self) -> torch.device:
        """Device of the images."""
        return self._data.device

    def due(self) -> bool:
        """Whether images are to be drawn in this update; each call counts as one update."""
        self._age += 1
        return (self._age - 1) % self._every == 0

    def look(self, students: Students) -> tuple[Output, Tensor]:
        """The students' evaluation-mode outputs, with graph, on newly drawn images [K, P, ...], and targets [K, P]."""
        count = len(self._generators)
        if self._size == len(self._data):
            shared = self._augmentation.clean(self._data.images)
            return students.evaluate(shared), self._data.labels.expand(count, -1)
        orders = [torch.randperm(len(self._data), generator=generator) for generator in self._generators]
        chosen = to_device(torch.stack([order[: self._size] for order in orders]), self._data.device)
        images = self._augmentation.clean(self._data.images[chosen.flatten()])
        targets = self._data.targets[chosen].flatten(1)
        return students.evaluate_each(images.unflatten(0, (count, -1))), targets

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the draws to come: age and generators."""
        return {"age": self._age, "generators": [generator.get_state() for generator in self._generators]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the draws to come are the same."""
        self._age = state["age"]
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.set_state(saved)
