"""The probe alignment of K students side by side; `rltemp.ProbeAlignment` serves one student in any training loop."""

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
    """The probe alignment of K students: how distilling each instance changes the loss of clean training images.

    Args:
        data: N training images, of which clean versions are evaluated.
        augmentation: of the training images; only its deterministic transforms are applied.
        seeds: one per student; each draws the images of its own student's probe.
        size: images per student and refresh, >= 1, at most N.
        every: updates between two refreshes of the probe's gradient, >= 1.
        scope: through which layers an instance acts on the probe: the "classifier" alone, or the whole "network".

    Raises:
        InputError: for a size or interval < 1.
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
        """Make the probe of a task that a policy's settings ask for; None if they ask for no alignment.

        Args:
            task: its clean training images are the probe's.
            space: settings of the policy.
            seeds: one per student.
        """
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
        """Alignment [K, B, A] of the observed instances, one column per `ALIGNMENT_TEMPERATURES`.

        It is positive where distilling the instance at that temperature lowers its student's probe loss, in units of
        the batch's root mean square at T = 4. Each call counts as one update for `every`.

        Args:
            students: the K students.
            observation: their forward pass on the next minibatch.
        """
        tangents = self.tangents(students, observation)
        return normalized_alignment(tangents, observation.student.logits.detach(), observation.teacher_logits)

    def tangents(self, students: Students, observation: ForwardPass) -> Tensor:
        """Tangents [K, B, C] of the observed logits along the gradient of the probe's mean cross-entropy.

        Args:
            students: the K students.
            observation: their forward pass on the next minibatch.
        """
        if self._age % self._every == 0:
            self._direction = self._gradient(students)
        self._age += 1
        if self._scope == "classifier":
            weight, bias = self._direction
            return torch.baddbmm(bias[:, None], observation.student.features.detach(), weight)
        return students.tangents(observation.minibatch.images, self._direction)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the students that decides the alignments to come: age, probe gradient, and generators."""
        return {
            "age": self._age,
            "direction": [part.clone() for part in self._direction],
            "generators": [generator.get_state() for generator in self._generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the alignments to come are the same."""
        self._age = state["age"]
        self._direction = [part.to(self._data.device) for part in state["direction"]]
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.set_state(saved)

    def _gradient(self, students: Students) -> Sequence[Tensor]:
        """Gradient of each student's mean cross-entropy on its probe: of its classifier, or of all its parameters."""
        with torch.set_grad_enabled(self._scope == "network"):
            output, targets = self._look(students)
        if self._scope == "classifier":
            return probe_gradient(output.features, output.logits, targets)
        # Each parameter affects the loss of its own student alone.
        by_logits = logit_gradient(output.logits, targets)
        return torch.autograd.grad(output.logits, list(students.parameters()), by_logits)

    def _look(self, students: Students) -> tuple[Output, Tensor]:
        """The students' outputs on their probe images [K, P, ...], and the targets [K, P]."""
        count = len(self._generators)
        if self._size == len(self._data):
            shared = self._augmentation.clean(self._data.images)
            return students.evaluate(shared), self._data.targets.expand(count, -1)
        orders = [torch.randperm(len(self._data), generator=generator) for generator in self._generators]
        chosen = to_device(torch.stack([order[: self._size] for order in orders]), self._data.device)
        images = self._augmentation.clean(self._data.images[chosen.flatten()])
        return students.evaluate_each(images.unflatten(0, (count, -1))), self._data.targets[chosen]
