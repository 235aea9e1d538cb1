"""Knowledge distillation of K students side by side, one update at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from rltemp.checks import checks_values
from rltemp.distillation.divergence import first_diverged, is_due
from rltemp.distillation.feature_term import FeatureTerm
from rltemp.distillation.minibatches import Minibatch
from rltemp.distillation.mixup import MixUp, mixed_losses
from rltemp.distillation.optimization import learning_rate, load_optimizer, make_optimizer, set_learning_rate
from rltemp.distillation.ranks import Ranks
from rltemp.distillation.students import Output
from rltemp.distillation.task import Task
from rltemp.distillation.teacher import Answers
from rltemp.errors import DivergenceError, InputError, short
from rltemp.objectives.method import Method
from rltemp.temperatures import Temperatures

__all__ = ["DistillationRun", "ForwardPass"]


class ForwardPass(NamedTuple):
    """The forward pass before an update: everything a temperature may depend on.

    Of several processes that share the minibatch, each has the images and features of its own instances alone, and the
    targets and logits of all, with the graph of its own: what is decided by them is the same everywhere.

    Attributes:
        minibatch: augmented images [K, B, ...] and targets [K, B].
        student: features [K, B, H] and logits [K, B, C], with the graph that the update uses.
        teacher_logits: [K, B, C].
        progress: share of the run's updates that are done, in [0, 1].
        seeds: of each student's random layers in this forward pass; empty for students without random layers.
    """

    minibatch: Minibatch
    student: Output
    teacher_logits: Tensor
    progress: float
    seeds: tuple[int, ...] = ()


class DistillationRun:
    """A KD run of K fresh students: alternate `observe` and `update` until `finished`.

    Between the two calls a rule, a trained policy, or a learning agent chooses the temperatures of the observed
    minibatch. Several processes may share every minibatch (`task.ranks`): the run is that of one process up to
    rounding, unless students have layers that normalize over the batch or draw, which do it per process.

    Args:
        task: the distillation problem: data, teacher, students, and optimization.
        seeds: one per student; a student's training depends on its own seed and temperatures, not on other students.
        teacher: source of the teacher's logits; by default the task's teacher. `task.teacher.recorded()` computes them
            once for several runs on the same seeds.
        trained_with: module of a temperature policy, whose parameters the students' optimizer trains.
        method: the loss to minimize; by default the task's.
        mixup: mixes the images of some minibatches; by default of none. Needs a process that has the whole minibatch.
        features: an objective on features that is added to the loss, and trained with the students; None for none.
            Like `mixup`, it needs a process that has the whole minibatch.

    Attributes:
        task: the distillation problem.
        seeds: one per student.
        students: the K students.
        step: number of updates done.
        method: the loss to minimize.

    Raises:
        InputError: for a batch size that the processes cannot share equally, or `mixup` or `features` with several of
            them.
    """

    def __init__(
        self,
        task: Task,
        seeds: Sequence[int],
        *,
        teacher: Answers | None = None,
        trained_with: nn.Module | None = None,
        method: Method | None = None,
        mixup: MixUp | None = None,
        features: FeatureTerm | None = None,
    ) -> None:
        self.task = task
        self.seeds = tuple(seeds)
        self.students = task.students(seeds)
        self.step = 0
        self.method = method or task.method
        self._minibatches = task.minibatches(seeds)
        if mixup is not None and task.ranks.count > 1:
            raise InputError(f"mixup must be None where {task.ranks.count} processes share a minibatch")
        if features is not None and task.ranks.count > 1:
            raise InputError(
                f"optimization.features must be 'none' where {task.ranks.count} processes share a minibatch"
            )
        self._forward = task.ranks.wrap(self.students)
        self._teacher = teacher or task.teacher
        self._mixup = mixup
        self._forward_seeds = self.students.forward_seeds(seeds)
        self._companion = trained_with if trained_with is not None else nn.Module()
        self._features = features
        beside = [] if features is None else [*features.parameters()]
        self._optimizer = make_optimizer(
            [*self.students.parameters(), *self._companion.parameters(), *beside], task.optimization
        )
        self._observation: ForwardPass | None = None

    @property
    def progress(self) -> float:
        """Share of the run's updates that are done, in [0, 1]."""
        return self.step / self.task.steps

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next update."""
        return learning_rate(self.task.optimization, self.progress)

    @property
    def finished(self) -> bool:
        """Whether all updates of the schedule are done."""
        return self.step >= self.task.steps

    def observe(self) -> ForwardPass:
        """Draw the next minibatch and run student and teacher on it; repeated calls return the same until `update`.

        Raises:
            InputError: for images that cannot be mixed, if a mix-up is due.
            DivergenceError: for students whose logits are not finite, or too large to recover; checked at every update
                on the CPU, and at every 50th on an accelerator.
        """
        if self._observation is None:
            minibatch = self._draw()
            seeds = self._ranks.apart(self._forward_seeds.draw())
            self.students.train()
            student: Output = self._forward(minibatch.images, seeds)
            # Running statistics: what is probed next must be the same everywhere.
            self._ranks.average(self.students.buffers())
            self._observation = ForwardPass(
                minibatch=minibatch._replace(targets=self._ranks.whole(minibatch.targets)),
                student=student._replace(logits=self._ranks.whole(student.logits)),
                teacher_logits=self._ranks.whole(self._ask(minibatch)),
                progress=self.progress,
                seeds=seeds,
            )
            if is_due(student.logits, self.step):
                self._refuse_diverged(self._observation.student.logits, self._observation.minibatch.targets)
        return self._observation

    def check(self) -> None:
        """Check the students' logits on one batch of validation images.

        Raises:
            DivergenceError: for students whose logits are not finite, or, without batch normalization, too large to
                recover.
        """
        if checks_values():
            sample = self.task.validation.images[: self.task.optimization.batch_size]
            logits = self.students.predict(self.task.augmentation.clean(sample)).logits
            bounded = not self.students.normalizations()
            self._refuse_diverged(logits, self.task.validation.labels[: logits.shape[1]], bounded)

    def update(self, temperatures: Temperatures, extra: Tensor | None = None) -> None:
        """Make one optimizer step on the observed minibatch.

        Args:
            temperatures: of the K * B instances, student after student.
            extra: a scalar with graph that is added to the sum of the students' losses; None for nothing.

        Raises:
            InputError: when the run is finished, or for another number of instances.
            DivergenceError: after the last update, for students whose validation logits are not finite, or, without
                batch normalization, too large to recover.
        """
        if self.finished:
            raise InputError(f"update() was called after the last of {self.task.steps} updates")
        loss = self._loss(self.observe(), temperatures)
        if self._features is not None:
            loss = loss + self._features.loss(self.observe())
        if extra is not None:
            loss = loss + extra
        set_learning_rate(self._optimizer, self.learning_rate)
        self._optimizer.zero_grad()
        loss.backward()
        self._ranks.average(part.grad for part in self._companion.parameters() if part.grad is not None)
        self._optimizer.step()
        self._observation = None
        self.step += 1
        if self.finished:
            self.check()

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the run depends on: step, students, policy, optimizer, minibatches, and forward seeds.

        Raises:
            InputError: between `observe` and `update`, where a graph is pending that cannot be saved.
        """
        if self._observation is not None:
            raise InputError("state_dict() must be called before observe() or after update(), not between them")
        return {
            "step": self.step,
            "students": self.students.state_dict(),
            "companion": self._companion.state_dict(),
            "features": None if self._features is None else self._features.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "minibatches": self._minibatches.state_dict(),
            "forward_seeds": self._forward_seeds.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` of a run with the same task and seeds returned.

        Raises:
            InputError: for the state of another run, after which this one must be discarded.
        """
        step = state["step"]
        if not isinstance(step, int) or not 0 <= step <= self.task.steps:
            raise InputError(f"step must be a number of updates in [0, {self.task.steps}], got {short(step)}")
        self._observation = None
        self.step = step
        self.students.load_state_dict(state["students"])
        self._companion.load_state_dict(state["companion"])
        if self._features is not None:
            self._features.load_state_dict(state["features"])
        load_optimizer(self._optimizer, state["optimizer"])
        self._minibatches.load_state_dict(state["minibatches"])
        self._forward_seeds.load_state_dict(state["forward_seeds"])

    @property
    def _ranks(self) -> Ranks:
        return self.task.ranks

    @property
    def _mixes(self) -> bool:
        return self._mixup is not None and self.step in self._mixup.updates

    def _draw(self) -> Minibatch:
        minibatch = self._minibatches.draw()
        return self._mixup.mix(self.students, minibatch) if self._mixup is not None and self._mixes else minibatch

    def _ask(self, minibatch: Minibatch) -> Tensor:
        # What is mixed depends on the students: logits that another run recorded are of other images.
        return self.task.teacher.ask(minibatch.images) if self._mixes else self._teacher.answer(self.step, minibatch)

    def _refuse_diverged(self, logits: Tensor, targets: Tensor, bounded: bool = True) -> None:
        if (found := first_diverged(logits, targets, bounded=bounded)) is not None:
            student, loss = found
            raise DivergenceError(
                f"student {student} diverged at update {self.step} (loss {loss:.3g}): "
                "lower optimization.lr, or ce_weight and kd_weight where they are large"
            )

    def _loss(self, observation: ForwardPass, temperatures: Temperatures) -> Tensor:
        """Sum over the students of their mean losses, a scalar, so that each student gets its own mean's gradient."""
        student = observation.student.logits.flatten(0, 1)
        teacher = observation.teacher_logits.flatten(0, 1)
        if len(temperatures) != len(student):
            raise InputError(f"temperatures must hold {len(student)} instances, got {len(temperatures)}")
        labels = observation.minibatch.targets, observation.minibatch.partners
        losses = mixed_losses(self.method, student, teacher, labels, temperatures, observation.progress)
        return losses.view(observation.minibatch.targets.shape).mean(1).sum()
