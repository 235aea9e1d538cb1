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

With a plan that credits every n-th update alone, the others are passed over without their H_t and k_t, and n times
those of a credited update stand for them: exact for n = 1, and the less so the farther from the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltemp.distillation.run import DistillationRun
from rltemp.distillation.students import Students
from rltemp.envs.credit_plan import CreditPlan
from rltemp.envs.run_record import Instances, PastUpdate, RunRecord
from rltemp.envs.running_statistics import StatisticsAdjoint
from rltemp.errors import InputError
from rltemp.temperatures import Temperatures

__all__ = ["UnrolledRun"]

_Credit = tuple[int, Instances, Tensor]
"""An update's number, its instances, and the tangents [K, B, C] of their logits along dL/dg."""


class UnrolledRun:
    """Records a run of K students, and computes the effect of each instance's temperature on its end.

    Parameters and images of every update are kept until the backward pass has used them, and then a number per class of
    every instance. With a plan of checkpoints neither is: each call of `effects_of_each` goes backwards anew.

    Args:
        run: at its start.
        plan: which updates are credited, and what is kept; by default all, and everything.

    Attributes:
        device: of the students, where temperatures must be.

    Raises:
        InputError: for compiled students, which have no second derivatives, or batch normalization without a weight or
            bias, or with statistics shared among processes.
    """

    def __init__(self, run: DistillationRun, plan: CreditPlan | None = None) -> None:
        if run.task.execution.compile:
            raise InputError("credit in hindsight needs students that are not compiled, got execution.compile=True")
        StatisticsAdjoint.check(run.students)
        self.device = run.task.device
        self._run: DistillationRun | None = run
        self._plan = plan or CreditPlan(run.task.steps)
        self._method = run.method
        self._batch = (run.students.count, run.task.instances)
        self._record: RunRecord | None = RunRecord(run, self._plan)
        self._updates = 0
        self._gradient: Sequence[Tensor] | None = None
        self._credits: list[_Credit] = []

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of updates so far, students K, and instances B."""
        return (self._updates, *self._batch)

    def note(self, temperatures: Temperatures) -> None:
        """Record the next update, just before it is made.

        Args:
            temperatures: of the update's K * B instances.

        Raises:
            InputError: for students with changing buffers other than batch normalization's, or after `look_back`.
        """
        self._recorded().note(temperatures)
        self._updates += 1

    def mark(self) -> None:
        """Record the run's state, if the plan wants it: after every update, before the run observes again."""
        self._recorded().mark()

    def look_back(self, gradient: Sequence[Tensor]) -> None:
        """Go backwards through all updates: once, after the last update and before the run observes again.

        With a plan of checkpoints, only what the way back begins with is kept.

        Args:
            gradient: of the last loss with respect to the students' parameters, one tensor for each.

        Raises:
            InputError: if it was called before.
        """
        self._recorded()
        self._gradient = gradient
        if not self._plan.checkpoints:
            self._credits = list(self._backwards())
            self._run = self._record = None

    def effects(self, temperatures: Sequence[Temperatures]) -> Tensor:
        """First-order decrease of the last loss by each instance, if it had been distilled at these temperatures.

        Args:
            temperatures: one `Temperatures` of K * B instances per update.

        Returns:
            [updates, K, B]; larger is better, and 0 at updates that are not credited. It includes the effect of the
            cross-entropy with the labels, so that only differences between temperatures of one instance are meaningful.

        Raises:
            InputError: before `look_back`, or for another number of updates.
        """
        if len(temperatures) != self._updates:
            raise InputError(f"temperatures must be those of {self._updates} updates, got {len(temperatures)}")
        return self.effects_of_each(lambda update: [temperatures[update]])[0]

    def effects_of_each(self, choose: Callable[[int], Sequence[Temperatures]]) -> Tensor:
        """`effects` of N alternatives in one way back.

        Args:
            choose: the N temperatures of an update, by its number; asked of credited updates alone.

        Returns:
            [N, updates, K, B].

        Raises:
            InputError: before `look_back`.
        """
        if self._gradient is None:
            raise InputError("effects() is known at the end of a run: call look_back() first")
        known = {
            update: torch.stack([self._effects(instances, tangents, temperatures) for temperatures in choose(update)])
            for update, instances, tangents in self._credits or self._backwards()
        }
        none = torch.zeros_like(next(iter(known.values())))
        return torch.stack([known.get(update, none) for update in range(self._updates)], dim=1)

    def _effects(self, instances: Instances, tangents: Tensor, temperatures: Temperatures) -> Tensor:
        logits = instances.logits.clone().requires_grad_()
        downhill = instances.downhill(self._method, logits, temperatures)
        return -(downhill * tangents).sum(-1) / logits.shape[1]

    def _backwards(self) -> Iterator[_Credit]:
        """The way back from the run's end: what is known of each credited update, the last one first."""
        assert self._run is not None
        assert self._record is not None
        assert self._gradient is not None
        settings, students = self._run.task.optimization, copy.deepcopy(self._run.students).train()
        by_parameters = list(self._gradient)
        by_momentum = [torch.zeros_like(part) for part in by_parameters]
        by_statistics = StatisticsAdjoint(self._run.students, by_parameters)
        for step in self._record.backwards():
            rate = step.learning_rate
            through_momentum = rate * settings.momentum if settings.nesterov else rate
            by_momentum = _plus(by_momentum, by_parameters, -through_momentum)
            by_gradient = _plus(by_momentum, by_parameters, -rate) if settings.nesterov else by_momentum
            if step.update is None:
                by_statistics.pass_over()
            else:
                tangents, curvature = self._differentiate(students, step.update, by_gradient, by_statistics)
                by_parameters = _plus(by_parameters, curvature, float(self._plan.every))
                yield step.number, step.update.instances, tangents
            by_parameters = _plus(by_parameters, by_gradient, settings.weight_decay)
            by_momentum = [settings.momentum * part for part in by_momentum]

    def _differentiate(
        self, students: Students, update: PastUpdate, direction: Sequence[Tensor], statistics: StatisticsAdjoint
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

    def _recorded(self) -> RunRecord:
        if self._record is None or self._gradient is not None:
            raise InputError("a run is looked back upon once, and then let go: record another one")
        return self._record


def _plus(a: Sequence[Tensor], b: Sequence[Tensor], factor: float) -> list[Tensor]:
    """The tensors a + factor * b, one by one."""
    return [x + factor * y for x, y in zip(a, b, strict=True)]
