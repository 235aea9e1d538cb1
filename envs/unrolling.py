"""Effects of a run's temperatures on its end, by a backward pass through its updates.

An influence is the effect of a temperature on the next loss; the last loss is what counts. Let L be the probe's loss
after the last update, g_t the gradient that update t uses, and l_i(T) the loss of instance i. The instance's part of
g_t is (1/B) J_i^T l_i'(T), with J_i the Jacobian of its logits, so that to first order it decreased L by (this
project's derivation)

    e_i(T) = -(1/B) (J_i c_t) . l_i'(T),    c_t = dL / dg_t.

One pass backwards through the unrolled updates gives all c_t, as in reverse-mode differentiation of SGD (Maclaurin et
al. 2015, arXiv 1502.03492, algorithm 2), here with recorded instead of recomputed parameters. With SGD's momentum m,
rate r, and a = dL / d(parameters), b = dL / d(momentum buffer) after update t,

    b <- b - r m a,    c_t = b - r a,    a <- a + H_t c_t,    b <- m b            (Nesterov; else b <- b - r a, c_t = b)

where H_t is the Hessian of the loss of minibatch t, weight decay included. One update costs two backward passes, one
through the other.

Running statistics of batch normalization, which the last loss uses, are part of the state as well. They move by a share
s (the layer's momentum, or one over its number of batches) towards the mean and the unbiased variance k_t of minibatch
t. With u = dL / d(statistics) after update t,

    statistics <- (1 - s) statistics + s k_t    gives    a <- a + s d(k_t . u) / d(parameters),    u <- (1 - s) u

Random layers, such as dropout, draw the same numbers in the backward pass, from the recorded seeds.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltemp.distillation.minibatches import Partners
from rltemp.distillation.mixup import mixed_losses
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.students import Students
from rltemp.envs.running_statistics import FixedBuffers, StatisticsAdjoint
from rltemp.errors import InputError
from rltemp.objectives.method import Method
from rltemp.temperatures import Temperatures

__all__ = ["UnrolledRun"]


@dataclasses.dataclass(frozen=True)
class _Instances:
    """Everything except temperatures that decides the losses of one update's K * B instances.

    Attributes:
        logits: of the students, [K, B, C].
        teacher_logits: [K, B, C].
        labels: class indices [K, B], and the second labels of mixtures, or None.
        progress: of the run, in [0, 1].
    """

    logits: Tensor
    teacher_logits: Tensor
    labels: tuple[Tensor, Partners | None]
    progress: float

    def downhill(
        self, method: Method, logits: Tensor, temperatures: Temperatures, differentiable: bool = False
    ) -> Tensor:
        """Gradient of each instance's loss with respect to its own logits, [K, B, C].

        Args:
            method: the loss.
            logits: the students' logits at which it is taken, [K, B, C].
            temperatures: of the K * B instances.
            differentiable: keep the graph, for second derivatives.
        """
        losses = mixed_losses(
            method,
            logits.flatten(0, 1),
            self.teacher_logits.flatten(0, 1),
            self.labels,
            temperatures,
            self.progress,
        )
        return torch.autograd.grad(losses.sum(), logits, create_graph=differentiable)[0]


@dataclasses.dataclass(frozen=True)
class _Update:
    """Everything that decided one update, with the parameters before it."""

    instances: _Instances
    images: Tensor
    seeds: Sequence[int]
    temperatures: Temperatures
    learning_rate: float
    parameters: Sequence[Tensor]


class UnrolledRun:
    """Records a run of K students, and computes the effect of each instance's temperature on its end.

    Parameters and images of every update are kept until the backward pass has used them.

    Args:
        run: at its start.

    Attributes:
        device: of the students, where temperatures must be.

    Raises:
        InputError: for compiled students, which have no second derivatives, or batch normalization without a weight or
            bias, or with statistics shared among processes.
    """

    def __init__(self, run: DistillationRun) -> None:
        if run.task.execution.compile:
            raise InputError("credit in hindsight needs students that are not compiled, got execution.compile=True")
        self._run: DistillationRun | None = run
        self.device = run.task.device
        self._method = run.method
        self._batch = (run.students.count, run.task.instances)
        StatisticsAdjoint.check(run.students)
        self._fixed = FixedBuffers(run.students)
        self._updates: list[_Update] = []
        self._credits: list[tuple[_Instances, Tensor]] = []

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of updates so far, students K, and instances B."""
        return (len(self._updates) + len(self._credits), *self._batch)

    def note(self, temperatures: Temperatures) -> None:
        """Record the next update, just before it is made.

        Args:
            temperatures: of the update's K * B instances.

        Raises:
            InputError: for students with changing buffers other than batch normalization's, or after `look_back`.
        """
        run = self._recorded()
        seen = run.observe()
        self._fixed.check(run.students)
        labels = seen.minibatch.targets, seen.minibatch.partners
        self._updates.append(
            _Update(
                _Instances(seen.student.logits.detach(), seen.teacher_logits, labels, seen.progress),
                seen.minibatch.images,
                seen.seeds,
                temperatures,
                run.learning_rate,
                [parameter.detach().clone() for parameter in run.students.parameters()],
            )
        )

    def look_back(self, gradient: Sequence[Tensor]) -> None:
        """Go backwards through all updates: once, after the last update and before the run observes again.

        Args:
            gradient: of the last loss with respect to the students' parameters, one tensor for each.

        Raises:
            InputError: if it was called before.
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
        """First-order decrease of the last loss by each instance, if it had been distilled at these temperatures.

        Args:
            temperatures: one `Temperatures` of K * B instances per update.

        Returns:
            [updates, K, B]; larger is better. It includes the effect of the cross-entropy with the labels, so that only
            differences between temperatures of one instance are meaningful.

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
        """Tangents [K, B, C] of an update's logits along `direction`, and the update's addition to the adjoint."""
        parameters = list(students.parameters())
        with torch.no_grad():
            for parameter, then in zip(parameters, update.parameters, strict=True):
                parameter.copy_(then)
        with sdpa_kernel(SDPBackend.MATH):  # the only kernel of attention with second derivatives
            output, moments = students.forward_with_moments(update.images, update.seeds)
        logits, instances = output.logits, output.logits.shape[1]
        downhill = update.instances.downhill(self._method, logits, update.temperatures, differentiable=True)
        gradient = torch.autograd.grad(logits, parameters, downhill, create_graph=True)
        slope = torch.stack([(part * along).sum() for part, along in zip(gradient, direction, strict=True)]).sum()
        # The slope is of the sum over instances, not of the mean that the update uses: hence this factor B, and the
        # division by B at the end.
        total = slope + instances * statistics.step_back(moments)
        # Two backward passes instead of one forward-mode pass, of which PyTorch's batch normalization has a wrong
        # gradient. The slope is linear in `downhill`, with the tangents as its factors.
        tangents, *curvature = torch.autograd.grad(total, [downhill, *parameters])
        return tangents, [part / instances for part in curvature]

    def _recorded(self) -> DistillationRun:
        if self._run is None:
            raise InputError("a run is looked back upon once, and then let go: record another one")
        return self._run


def _plus(a: Sequence[Tensor], b: Sequence[Tensor], factor: float) -> list[Tensor]:
    """The tensors a + factor * b, one by one."""
    return [x + factor * y for x, y in zip(a, b, strict=True)]
