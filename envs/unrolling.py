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

Running statistics of batch normalization, which the last loss reads, are state as well. They move a share s (the
layer's momentum, or one over its batches so far) towards the mean and the unbiased variance k_t of minibatch t; with
u = dL / d(statistics) after update t,

    statistics <- (1 - s) statistics + s k_t    gives    a <- a + s d(k_t . u) / d(parameters),    u <- (1 - s) u

What a student drew in its forward, dropout's masks, it draws again on the way back, from the same seed.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltemp.distillation.run import DistillationRun
from rltemp.distillation.students import Students
from rltemp.envs.running_statistics import FixedBuffers, StatisticsAdjoint
from rltemp.errors import InputError
from rltemp.objectives.method import Method
from rltemp.temperatures import Temperatures

__all__ = ["UnrolledRun"]


@dataclasses.dataclass(frozen=True)
class _Instances:
    """What the losses of one update's instances are made of, besides their temperatures."""

    logits: Tensor
    teacher_logits: Tensor
    targets: Tensor
    progress: float

    def downhill(
        self, method: Method, logits: Tensor, temperatures: Temperatures, differentiable: bool = False
    ) -> Tensor:
        """Gradient of each instance's loss by its own logits, [K, B, C], at other logits of theirs."""
        losses = method.losses(
            logits.flatten(0, 1),
            self.teacher_logits.flatten(0, 1),
            self.targets.flatten(),
            temperatures,
            self.progress,
        )
        return torch.autograd.grad(losses.sum(), logits, create_graph=differentiable)[0]


@dataclasses.dataclass(frozen=True)
class _Update:
    """What one update was made of."""

    instances: _Instances
    images: Tensor
    seeds: Sequence[int]
    temperatures: Temperatures
    learning_rate: float
    parameters: Sequence[Tensor]


class UnrolledRun:
    """Records a run of K students, then tells what each instance's temperature did to its end.

    Everything is kept that the way back needs, the parameters and images of every update, and let go on the way.

    Args:
        run: at its start.

    Attributes:
        device: where the students are, and temperatures are wanted.

    Raises:
        InputError: for compiled students, which have no second derivatives, or batch normalization that cannot be
            followed.
    """

    def __init__(self, run: DistillationRun) -> None:
        if run.task.execution.compile:
            raise InputError("credit in hindsight needs students that are not compiled, got execution.compile=True")
        self._run: DistillationRun | None = run
        self.device = run.task.device
        self._method = run.method
        self._batch = (run.students.count, run.task.optimization.batch_size)
        StatisticsAdjoint.check(run.students)
        self._fixed = FixedBuffers(run.students)
        self._updates: list[_Update] = []
        self._credits: list[tuple[_Instances, Tensor]] = []

    @property
    def shape(self) -> tuple[int, int, int]:
        """Updates so far, students K, instances B."""
        return (len(self._updates) + len(self._credits), *self._batch)

    def note(self, temperatures: Temperatures) -> None:
        """Keep the update that is about to be made, at temperatures of its K * B instances.

        Raises:
            InputError: for students with state that the way back does not know.
        """
        run = self._recorded()
        seen = run.observe()
        self._fixed.check(run.students)
        self._updates.append(
            _Update(
                _Instances(seen.student.logits.detach(), seen.teacher_logits, seen.minibatch.targets, seen.progress),
                seen.minibatch.images,
                seen.seeds,
                temperatures,
                run.learning_rate,
                [parameter.detach().clone() for parameter in run.students.parameters()],
            )
        )

    def look_back(self, gradient: Sequence[Tensor]) -> None:
        """Go backwards through the updates: once, after the last one and before the run observes again.

        Args:
            gradient: of the loss after the last one, by each of the students' parameters.
        """
        run = self._recorded()
        settings, students = run.task.optimization, copy.deepcopy(run.students).train()
        by_parameters, by_momentum = list(gradient), [torch.zeros_like(part) for part in gradient]
        by_statistics = StatisticsAdjoint(run.students, gradient)
        while self._updates:
            update = self._updates.pop()
            rate = update.learning_rate
            through_momentum = rate * settings.momentum if settings.nesterov else rate
            by_momentum = _plus(by_momentum, by_parameters, -through_momentum)
            by_gradient = _plus(by_momentum, by_parameters, -rate) if settings.nesterov else by_momentum
            tangents, curvature = self._differentiate(students, update, by_gradient, by_statistics)
            by_parameters = _plus(by_parameters, curvature, 1.0)
            by_parameters = _plus(by_parameters, by_gradient, settings.weight_decay)
            by_momentum = [settings.momentum * part for part in by_momentum]
            self._credits.append((update.instances, tangents))
        self._credits.reverse()
        self._run = None

    def effects(self, temperatures: Sequence[Temperatures]) -> Tensor:
        """How much each instance lowered the loss at the end, to first order, had it been distilled at these.

        Args:
            temperatures: of the K * B instances of every update.

        Returns:
            [updates, K, B]; larger is better. Only differences between temperatures of one instance mean something: the
            share of the cross-entropy with the labels is in it as well.

        Raises:
            InputError: before `look_back`.
        """
        if not self._credits:
            raise InputError("effects() is known at the end of a run: call look_back() first")
        return torch.stack([self._effects(*known, t) for known, t in zip(self._credits, temperatures, strict=True)])

    def _effects(self, instances: _Instances, tangents: Tensor, temperatures: Temperatures) -> Tensor:
        logits = instances.logits.clone().requires_grad_()
        downhill = instances.downhill(self._method, logits, temperatures)
        return -(downhill * tangents).sum(-1) / logits.shape[1]

    def _differentiate(
        self, students: Students, update: _Update, direction: Sequence[Tensor], statistics: StatisticsAdjoint
    ) -> tuple[Tensor, list[Tensor]]:
        """Tangents of the minibatch's logits along a direction, and what its loss and moments add to the adjoint."""
        parameters = list(students.parameters())
        with torch.no_grad():
            for parameter, then in zip(parameters, update.parameters, strict=True):
                parameter.copy_(then)
        with sdpa_kernel(SDPBackend.MATH):  # the kernel of attention that has second derivatives
            output, moments = students.forward_with_moments(update.images, update.seeds)
        logits, instances = output.logits, output.logits.shape[1]
        downhill = update.instances.downhill(self._method, logits, update.temperatures, differentiable=True)
        gradient = torch.autograd.grad(logits, parameters, downhill, create_graph=True)
        slope = torch.stack([(part * along).sum() for part, along in zip(gradient, direction, strict=True)]).sum()
        # Of the mean over instances, like the update's gradient; the statistics take no mean.
        total = slope + instances * statistics.step_back(moments)
        # Backwards twice and not forwards once: the gradient of PyTorch's forward-mode batch normalization is wrong.
        # The slope is linear in `downhill`, with the tangents as its factors.
        tangents, *curvature = torch.autograd.grad(total, [downhill, *parameters])
        return tangents, [part / instances for part in curvature]

    def _recorded(self) -> DistillationRun:
        if self._run is None:
            raise InputError("a run is looked back upon once, and then let go: record another one")
        return self._run


def _plus(a: Sequence[Tensor], b: Sequence[Tensor], factor: float) -> list[Tensor]:
    """Add `factor` times b to a, tensor by tensor."""
    return [x + factor * y for x, y in zip(a, b, strict=True)]
