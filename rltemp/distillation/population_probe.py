"""The probe alignment of K students side by side; `rltemp.ProbeAlignment` is the same for one student in any loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rltemp.alignment import logit_gradient, normalized_alignment, probe_gradient
from rltemp.data import Augmentation, Dataset
from rltemp.distillation.run import ForwardPass
from rltemp.distillation.students import Output, Students
from rltemp.distillation.task import Task
from rltemp.errors import InputError
from rltemp.recipes.schema import PolicySpace
from rltemp.seeding import make_generator
from rltemp.transfer import to_device

__all__ = ["PopulationProbe"]


class PopulationProbe:
    """How each instance's logits change as its student descends the loss of clean training images.

    Args:
        data: training images; only clean ones are looked at.
        augmentation: of the training images, for what it does to clean ones.
        seeds: one per student; each draws which images its own student is judged by.
        size: images per student and refresh, at most all.
        every: updates between two refreshes.
        scope: through which layers an instance acts on the probe: the "classifier" alone, or the whole "network".
    """

    def __init__(
        self,
        data: Dataset,
        augmentation: Augmentation,
        *,
        seeds: Sequence[int],
        size: int,
        every: int,
        scope: Literal["classifier", "network"],
    ) -> None:
        for name, value in (("probe_size", size), ("every", every)):
            if value < 1:
                raise InputError(f"{name} must be >= 1, got {value}")
        self._data = data
        self._augmentation = augmentation
        self._size = min(size, len(data))
        self._every = every
        self._scope = scope
        self._generators = [make_generator(seed, "probe") for seed in seeds]
        self._age = 0
        self._direction: Sequence[Tensor] = ()

    @classmethod
    def of(cls, task: Task, space: PolicySpace, seeds: Sequence[int]) -> PopulationProbe | None:
        """The probe that a policy's settings ask for, on training images; None for a policy that sees logits alone."""
        if space.alignment == "none":
            return None
        return cls(
            task.probe,
            task.augmentation,
            seeds=seeds,
            size=space.probe_size,
            every=space.every,
            scope=space.alignment,
        )

    def alignment(self, students: Students, observation: ForwardPass) -> Tensor:
        """Normalized effects [K, B, A] of the observed instances; see `normalized_alignment`."""
        tangents = self.tangents(students, observation)
        return normalized_alignment(tangents, observation.student.logits.detach(), observation.teacher_logits)

    def tangents(self, students: Students, observation: ForwardPass) -> Tensor:
        """Tangents [K, B, C] of the observed logits along the gradient of the probe's cross-entropy."""
        if self._age % self._every == 0:
            self._direction = self._gradient(students)
        self._age += 1
        if self._scope == "classifier":
            weight, bias = self._direction
            return torch.baddbmm(bias[:, None], observation.student.features.detach(), weight)
        return students.tangents(observation.minibatch.images, self._direction)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the alignments to come."""
        return {
            "age": self._age,
            "direction": [part.clone() for part in self._direction],
            "generators": [generator.get_state() for generator in self._generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._age = state["age"]
        self._direction = [part.to(self._data.device) for part in state["direction"]]
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.set_state(saved)

    def _gradient(self, students: Students) -> Sequence[Tensor]:
        """Of each student's mean cross-entropy on its probe: by its classifier, or by all of its parameters."""
        with torch.set_grad_enabled(self._scope == "network"):
            output, targets = self._look(students)
        if self._scope == "classifier":
            return probe_gradient(output.features, output.logits, targets)
        # Each parameter meets its own student's loss alone.
        by_logits = logit_gradient(output.logits, targets)
        return torch.autograd.grad(output.logits, list(students.parameters()), by_logits)

    def _look(self, students: Students) -> tuple[Output, Tensor]:
        """What the students say of the images that they are judged by, and the targets [K, P] of these."""
        count = len(self._generators)
        if self._size == len(self._data):
            shared = self._augmentation.clean(self._data.images)
            return students.evaluate(shared), self._data.targets.expand(count, -1)
        orders = [torch.randperm(len(self._data), generator=generator) for generator in self._generators]
        chosen = to_device(torch.stack([order[: self._size] for order in orders]), self._data.device)
        images = self._augmentation.clean(self._data.images[chosen.flatten()])
        return students.evaluate_each(images.unflatten(0, (count, -1))), self._data.targets[chosen]
