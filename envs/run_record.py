"""What is kept of a run so that its updates can be met again from the last one to the first.

Either every update is kept with all that decided it, or the run's state is kept about √n times for n updates, with the
temperatures of all. The updates between two states are then made anew when they are needed (Chen et al. 2016, arXiv
1604.06174, section 4, for the layers of a network; here for the updates of a run), with the same images, masks and
roundings, since everything random comes out of the state's generators.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rltemp.distillation.minibatches import Partners
from rltemp.distillation.mixup import mixed_losses
from rltemp.distillation.run import DistillationRun
from rltemp.envs.credit_plan import CreditPlan
from rltemp.envs.running_statistics import FixedBuffers
from rltemp.objectives.method import Method
from rltemp.temperatures import Temperatures

__all__ = ["Instances", "PastUpdate", "RunRecord", "Step"]


@dataclasses.dataclass(frozen=True)
class Instances:
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
class PastUpdate:
    """Everything that decided one update, with the parameters before it."""

    instances: Instances
    images: Tensor
    seeds: Sequence[int]
    temperatures: Temperatures
    parameters: Sequence[Tensor]


@dataclasses.dataclass(frozen=True)
class Step:
    """One update on the way back.

    Attributes:
        number: of the update, from 0.
        learning_rate: that it was made with.
        update: what decided it; None for an update that is not credited.
    """

    number: int
    learning_rate: float
    update: PastUpdate | None


class RunRecord:
    """Keeps of a run what its plan needs, and gives its updates back in reverse.

    Args:
        run: at its start.
        plan: which updates are given back, and whether they are kept or made anew.
    """

    def __init__(self, run: DistillationRun, plan: CreditPlan) -> None:
        self._run = run
        self._plan = plan
        self._fixed = FixedBuffers(run.students)
        self._steps: list[Step] = []
        self._temperatures: dict[int, Temperatures] = {}
        self._states: dict[int, dict[str, Any]] = {}
        self.mark()

    def note(self, temperatures: Temperatures) -> None:
        """Keep the next update, just before it is made at these temperatures of its K * B instances.

        Raises:
            InputError: for students with changing buffers other than batch normalization's.
        """
        self._run.observe()
        self._fixed.check(self._run.students)
        if self._run.step < self._plan.first:
            return
        if self._plan.checkpoints:
            self._temperatures[self._run.step] = temperatures
        else:
            self._steps.append(self._look(temperatures))

    def mark(self) -> None:
        """Keep the run's state where the plan wants it; before the run observes."""
        if self._plan.checkpoints and (self._run.step in self._plan.starts or self._run.finished):
            self._states[self._run.step] = copy.deepcopy(self._run.state_dict())

    def backwards(self) -> Iterator[Step]:
        """The updates of the plan's window, the last one first.

        What was kept of each is let go with it. With a plan of checkpoints everything is kept, so that the way back
        can be gone again; when it ends, the run is as it was at its end.
        """
        while self._steps:
            yield self._steps.pop()
        if not self._plan.checkpoints:
            return
        try:
            for start in reversed(self._plan.starts):
                steps = self._replay(start)
                while steps:
                    yield steps.pop()
        finally:
            self._load(self._plan.updates)

    def _replay(self, start: int) -> list[Step]:
        """Make the updates from a kept state to the next one anew."""
        self._load(start)
        steps = []
        for number in range(start, min(start + self._plan.segment, self._plan.updates)):
            self._run.observe()
            steps.append(self._look(self._temperatures[number]))
            self._run.update(self._temperatures[number])
        return steps

    def _load(self, number: int) -> None:
        # A copy, since optimizers go on with the very tensors that they are given.
        self._run.load_state_dict(copy.deepcopy(self._states[number]))

    def _look(self, temperatures: Temperatures) -> Step:
        """The next update, as it is about to be made."""
        run = self._run
        if not self._plan.credits(run.step):
            return Step(run.step, run.learning_rate, None)
        seen = run.observe()
        labels = seen.minibatch.targets, seen.minibatch.partners
        update = PastUpdate(
            Instances(seen.student.logits.detach(), seen.teacher_logits, labels, seen.progress),
            seen.minibatch.images,
            seen.seeds,
            temperatures,
            [parameter.detach().clone() for parameter in run.students.parameters()],
        )
        return Step(run.step, run.learning_rate, update)
