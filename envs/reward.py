"""The reward of an update: the decrease of the loss of held-out images, and its attribution to single instances."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.alignment import alignment_effects, logit_gradient
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.students import Students
from rltemp.distillation.task import Task
from rltemp.envs.objective import objective_loss
from rltemp.recipes.schema import Objective
from rltemp.temperatures import Temperatures

__all__ = ["ProbeReward"]


class ProbeReward:
    """Validation images as the probe of K students: its loss is the base of the reward.

    One forward pass of the probe serves the loss after an update and the gradient before the next one.

    Args:
        task: all its validation images are the probe, clean, at every call.
        objective: what loss of them it is.
    """

    def __init__(self, task: Task, objective: Objective = "nll") -> None:
        self._objective: Objective = objective
        self._images = task.augmentation.clean(task.validation.images)
        self._targets = task.validation.labels
        self._logits: Tensor | None = None

    def loss(self, students: Students) -> Tensor:
        """Loss of every student's current parameters on the probe, [K] float64."""
        self._logits = None  # with its graph, which is large, before there is another
        self._logits = students.evaluate(self._images).logits
        # In float64, because one update changes the loss in the fourth digit.
        return objective_loss(self._objective, self._logits.detach().double(), self._targets)

    def influence(self, run: DistillationRun, temperatures: Temperatures) -> Tensor:
        """First-order decrease of the last `loss` by each observed instance's distillation gradient, [K, B], in nats.

        It is lr * kd_weight / B * a_i(T_i) * scale / T_i^2, with a_i the effect of `rltemp.alignment` (this project's
        derivation). Without momentum its sum is about the distillation's part of the reward. It can be computed once
        per `loss`, before the update.

        Args:
            run: the KD run of the students given to `loss`.
            temperatures: of the K * B instances, the same for both networks.
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
        """Gradient of the last `loss`, one tensor for each of the students' parameters; only once per `loss`."""
        assert self._logits is not None
        logits, self._logits = self._logits, None
        return torch.autograd.grad(logits, list(students.parameters()), self._downhill(logits))

    def _downhill(self, logits: Tensor) -> Tensor:
        """Gradient [K, N, C] of every student's loss with respect to its logits."""
        if self._objective == "nll":
            return logit_gradient(logits, self._targets)
        free = logits.detach().double().requires_grad_()
        losses = objective_loss(self._objective, free, self._targets)
        return torch.autograd.grad(losses.sum(), free)[0].to(logits)
