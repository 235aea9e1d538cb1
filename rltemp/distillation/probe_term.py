"""The probe as an ordinary term of the loss: all that an aligned policy's probe knows, given to any policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from rltemp.distillation.probe_images import ProbeImages
from rltemp.distillation.students import Students
from rltemp.distillation.task import Task
from rltemp.recipes.schema import PolicySpace

__all__ = ["ProbeTerm"]


class ProbeTerm:
    """Weighted cross-entropy of K students on the images that `PopulationProbe` would look at, when it would.

    As in the probe, the students are in evaluation mode: normalization uses running statistics, which do not move.

    Args:
        weight: of the mean cross-entropy, > 0.
        images: drawn for the term alone; with the seeds of an alignment's probe they are the same.
    """

    def __init__(self, weight: float, images: ProbeImages) -> None:
        self._weight = weight
        self._images = images

    @classmethod
    def of(cls, task: Task, space: PolicySpace, seeds: Sequence[int]) -> ProbeTerm | None:
        """Make the term that a task's optimization settings ask for; None for a weight of 0.

        Args:
            task: its clean training images are the probe's.
            space: says how many images are drawn, and how often, whatever its alignment.
            seeds: one per student.
        """
        weight = task.optimization.probe_weight
        if weight == 0.0:
            return None
        images = ProbeImages(task.probe, task.augmentation, seeds=seeds, size=space.probe_size, every=space.every)
        return cls(weight, images)

    def loss(self, students: Students) -> Tensor | None:
        """Weighted sum over the students of their mean cross-entropies, a scalar with graph, in nats.

        None in updates in which no images are drawn. Each call counts as one update.
        """
        if not self._images.due():
            return None
        output, targets = self._images.look(students)
        losses = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten(), reduction="none")
        # Each student gets the gradient of its own mean.
        return self._weight * losses.view(targets.shape).mean(1).sum()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the students that decides the terms to come."""
        return self._images.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned, so that the terms to come are the same."""
        self._images.load_state_dict(state)
