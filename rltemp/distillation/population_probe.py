"""The probe alignment of K students side by side; `rltemp.ProbeAlignment` serves one student in any training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rltemp.alignment import logit_gradient, normalized_alignment, probe_gradient
from rltemp.data import Augmentation, Dataset
from rltemp.distillation.probe_images import ProbeImages
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.distillation.run import ForwardPass
from rltemp.distillation.students import Students
from rltemp.distillation.task import Task
from rltemp.recipes.schema import PolicySpace

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
        ranks: the processes that share every minibatch.

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
        ranks: Ranks = ALONE,
    ) -> None:
        self._images = ProbeImages(data, augmentation, seeds=seeds, size=size, every=every)
        self._scope = scope
        self._ranks = ranks
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
            ranks=task.ranks,
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
        if self._images.due():
            self._direction = self._gradient(students)
        if self._scope == "classifier":
            weight, bias = self._direction
            own = torch.baddbmm(bias[:, None], observation.student.features.detach(), weight)
        else:
            own = students.tangents(observation.minibatch.images, self._direction)
        return self._ranks.whole(own)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the students that decides the alignments to come: age, probe gradient, and generators."""
        return {**self._images.state_dict(), "direction": [part.clone() for part in self._direction]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the alignments to come are the same."""
        self._images.load_state_dict(state)
        self._direction = [part.to(self._images.device) for part in state["direction"]]

    def _gradient(self, students: Students) -> Sequence[Tensor]:
        """Gradient of each student's mean cross-entropy on its probe: of its classifier, or of all its parameters."""
        with torch.set_grad_enabled(self._scope == "network"):
            output, targets = self._images.look(students)
        if self._scope == "classifier":
            return probe_gradient(output.features, output.logits, targets)
        # Each parameter affects the loss of its own student alone.
        by_logits = logit_gradient(output.logits, targets)
        return torch.autograd.grad(output.logits, list(students.parameters()), by_logits)
