"""What the temperatures of a run did to its end, found by going backwards through its updates.

An influence says what a temperature does to the next loss; what counts is the last one. Let L be the probe's loss after
the last update, g_t the gradient that update t was made of, and l_i(T) the loss of instance i. Its own part of g_t is
(1/B) J_i^T l_i'(T), with J_i the Jacobian of its logits, so that to first order it lowered L by

    e_i(T) = -(1/B) (J_i c_t) . l_i'(T),    c_t = dL / dg_t.

All c_t come from one pass backwards through the unrolled updates, as in hyperparameter optimization by reversible
learning (Maclaurin et al. 2015, arXiv 1502.03492), here along recorded parameters: with SGD's momentum m, rate r and
a = dL / d(parameters), b = dL / d(momentum buffer) after update t,

    b <- b - r m a,    c_t = b - r a,    a <- a + H_t c_t,    b <- m b            (Nesterov; else b <- b - r a, c_t = b)

where H_t is the Hessian of the loss of minibatch t. One update costs two backward passes, one through the other.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from rltemp.distillation.minibatches import Minibatch
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.students import Students
from rltemp.errors import InputError
from rltemp.temperatures import Temperatures

__all__ = ["Hindsight"]


@dataclasses.dataclass
class _Update:
    """One update: what it was made of, and once it was looked back upon, the tangents J_i c_t [K, B, C]."""

    minibatch: Minibatch
    logits: Tensor
    teacher_logits: Tensor
    progress: float
    temperatures: Temperatures
    learning_rate: float
    parameters: Sequence[Tensor]
    tangents: Tensor | None = None


class Hindsight:
    """Records a run of K students, then tells what each instance's temperature did to its end.

    Everything is kept that the way back needs: parameters and images of every update.

    Args:
        run: at its start.
    """

    def __init__(self, run: DistillationRun) -> None:
        self._run = run
        self._students: Students = copy.deepcopy(run.students)
        self._updates: list[_Update] = []

    @property
    def shape(self) -> tuple[int, int, int]:
        """Updates so far, students K, instances B."""
        return (len(self._updates), self._students.count, self._run.task.optimization.batch_size)

    def note(self, temperatures: Temperatures) -> None:
        """Keep the update that is about to be made, at temperatures of its K * B instances."""
        observation = self._run.observe()
        self._updates.append(
            _Update(
                observation.minibatch,
                observation.student.logits.detach(),
                observation.teacher_logits,
                observation.progress,
                temperatures,
                self._run.learning_rate,
                [parameter.detach().clone() for parameter in self._run.students.parameters()],
            )
        )

    def look_back(self, gradient: Sequence[Tensor]) -> None:
        """Go backwards through the updates.

        Args:
            gradient: of the loss after the last one, by each of the students' parameters.
        """
        settings = self._run.task.optimization
        by_parameters, by_momentum = list(gradient), [torch.zeros_like(part) for part in gradient]
        for update in reversed(self._updates):
            rate = update.learning_rate
            through_momentum = rate * settings.momentum if settings.nesterov else rate
            by_momentum = _plus(by_momentum, by_parameters, -through_momentum)
            by_gradient = _plus(by_momentum, by_parameters, -rate) if settings.nesterov else by_momentum
            update.tangents, curvature = self._differentiate(update, by_gradient)
            by_parameters = _plus(by_parameters, curvature, 1.0)
            by_parameters = _plus(by_parameters, by_gradient, settings.weight_decay)
            by_momentum = [settings.momentum * part for part in by_momentum]
            update.parameters = ()

    def effects(self, temperatures: Sequence[Temperatures]) -> Tensor:
        """How much each instance lowered the loss at the end, to first order, had it been distilled at these.

        Args:
            temperatures: of the K * B instances of every update.

        Returns:
            [updates, K, B]; larger is better. Only differences between temperatures of one instance mean something: the
            share of the cross-entropy with the labels is in it as well.
        """
        return torch.stack([self._effects(*pair) for pair in zip(self._updates, temperatures, strict=True)])

    def _effects(self, update: _Update, temperatures: Temperatures) -> Tensor:
        if update.tangents is None:
            raise InputError("effects() is known at the end of a run: call look_back() first")
        logits = update.logits.clone().requires_grad_()
        downhill = self._by_logits(update, logits, temperatures)
        return -(downhill * update.tangents).sum(-1) / logits.shape[1]

    def _differentiate(self, update: _Update, direction: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Tangents of the minibatch's logits along a direction, and the Hessian of its loss times that direction."""
        with torch.no_grad():
            for parameter, then in zip(self._students.parameters(), update.parameters, strict=True):
                parameter.copy_(then)
        parameters = list(self._students.parameters())
        logits = self._students.train()(update.minibatch.images).logits
        downhill = self._by_logits(update, logits, update.temperatures, differentiable=True)
        gradient = torch.autograd.grad(logits, parameters, downhill, create_graph=True)
        slope = torch.stack([(part * along).sum() for part, along in zip(gradient, direction, strict=True)]).sum()
        # Backwards twice and not forwards once: the gradient of PyTorch's forward-mode batch normalization is wrong.
        # The slope is linear in `downhill`, with the tangents as its factors.
        tangents, *curvature = torch.autograd.grad(slope, [downhill, *parameters])
        return tangents, [part / logits.shape[1] for part in curvature]

    def _by_logits(
        self, update: _Update, logits: Tensor, temperatures: Temperatures, differentiable: bool = False
    ) -> Tensor:
        """Gradient of each instance's loss by its own logits, [K, B, C]."""
        losses = self._run.method.losses(
            logits.flatten(0, 1),
            update.teacher_logits.flatten(0, 1),
            update.minibatch.targets.flatten(),
            temperatures,
            update.progress,
        )
        return torch.autograd.grad(losses.sum(), logits, create_graph=differentiable)[0]


def _plus(a: Sequence[Tensor], b: Sequence[Tensor], factor: float) -> list[Tensor]:
    """Add `factor` times b to a, tensor by tensor."""
    return [x + factor * y for x, y in zip(a, b, strict=True)]
