"""What an update is worth, and which of its instances are to thank: the loss of held-out images, and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.alignment import alignment_effects, logit_gradient
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.scores import cross_entropy
from rltemp.distillation.students import Students
from rltemp.distillation.task import Task
from rltemp.temperatures import Temperatures

__all__ = ["ProbeReward"]


class ProbeReward:
    """The validation images as the probe of K students.

    One forward pass serves both: the loss after an update and, at the next one, the gradient there.

    Args:
        task: whose validation images are the probe; all of them, clean, every time.
    """

    def __init__(self, task: Task) -> None:
        self._images = task.augmentation.clean(task.validation.images)
        self._targets = task.validation.targets
        self._logits: Tensor | None = None

    def loss(self, students: Students) -> Tensor:
        """Mean cross-entropy of every student as it is now, [K]."""
        self._logits = students.evaluate(self._images).logits
        # In float64, because one update changes the loss in the fourth digit.
        return cross_entropy(self._logits.detach().double(), self._targets)

    def influence(self, run: DistillationRun, temperatures: Temperatures) -> Tensor:
        """First-order effect of each observed instance's distillation gradient on the last `loss`, [K, B].

        In the unit of the reward, lr * kd_weight / B * a_i(T_i), times scale / T^2: without momentum its sum is about
        R. Asked once per loss, before the update.

        Args:
            run: the KD run whose students `loss` was of.
            temperatures: of the K * B instances, shared by both networks.
        """
        observation, students = run.observe(), run.students
        direction = self.gradient(students)
        tangents = students.tangents(observation.minibatch.images, direction)
        logits = observation.student.logits.detach()
        temperature = temperatures.teacher.view(logits.shape[:2])
        effects = alignment_effects(tangents, logits, observation.teacher_logits, temperature)
        effects = effects * (temperatures.scale / temperatures.teacher.square()).view_as(effects)
        return effects * (run.learning_rate * run.task.optimization.kd_weight / effects.shape[1])

    def gradient(self, students: Students) -> tuple[Tensor, ...]:
        """Gradient of the last `loss`, one tensor for each of the students' parameters; to be asked once per loss."""
        assert self._logits is not None
        logits, self._logits = self._logits, None
        return torch.autograd.grad(logits, list(students.parameters()), logit_gradient(logits, self._targets))
