"""What is distilled into what, on which data: everything a run needs but a policy and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rltemp.data import Augmentation, Dataset
from rltemp.distillation.minibatches import Minibatch, Minibatches, MinibatchStream
from rltemp.distillation.students import LoopStudents, StackedStudents, Students
from rltemp.distillation.training_images import ImagesOnDisk
from rltemp.distillation.views import Views
from rltemp.networks import Execution, Network
from rltemp.objectives.method import Method
from rltemp.recipes import schema
from rltemp.seeding import make_generator

__all__ = ["Task"]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One distillation problem.

    Attributes:
        train: images that every policy trains on, and the only ones the alignment's probe may use; where they are on
            disk, some of them for the probe.
        validation: held-out images: the reward's probe, and what anything is picked on.
        test: read by the final evaluation alone.
        augmentation: of training images; its `clean` is what validation and test images need.
        teacher: maps images [N, ...] to logits [N, C].
        make_student: builds a student from a generator.
        optimization: how students are trained.
        stacked: whether students run side by side by stacking, or one after the other.
        views: the views of training images that students meet; None where each is augmented anew.
        bank: the teacher's logits [V * N, C] of the views.
        execution: how students run.
        on_disk: the training images, where they do not fit into memory.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    augmentation: Augmentation
    teacher: nn.Module
    make_student: Callable[[torch.Generator], Network]
    optimization: schema.Optimization
    stacked: bool = True
    views: Views | None = None
    bank: Tensor | None = None
    execution: Execution = dataclasses.field(default_factory=Execution)
    on_disk: ImagesOnDisk | None = None

    @property
    def steps(self) -> int:
        """Updates of one run."""
        images = len(self.train if self.on_disk is None else self.on_disk)
        return self.optimization.epochs * (images // self.optimization.batch_size)

    @property
    def method(self) -> Method:
        """What is minimized, unless a run comes with a method of its own."""
        return Method.of(self.optimization)

    def students(self, seeds: Sequence[int]) -> Students:
        """Fresh students, one per seed."""
        members = [self.make_student(make_generator(seed, "student")) for seed in seeds]
        kind = StackedStudents if self.stacked else LoopStudents
        return kind(members, self.execution).to(self.train.device)

    def minibatches(self, seeds: Sequence[int]) -> MinibatchStream:
        """What students with these seeds see."""
        if self.on_disk is not None:
            return self.on_disk.minibatches(seeds, self.optimization.batch_size)
        return Minibatches(self.train, self.augmentation, seeds, self.optimization.batch_size, self.views)

    def ask_teacher(self, step: int, images: Tensor) -> Tensor:
        """The teacher's logits [K, B, C] of images [K, B, ...]; the same at every `step`."""
        logits: Tensor = self.teacher(images.flatten(0, 1))
        return logits.view(*images.shape[:2], -1)

    def teacher_logits(self, step: int, minibatch: Minibatch) -> Tensor:
        """The teacher's logits [K, B, C] of a minibatch: from the bank, or asked."""
        if self.bank is None or minibatch.rows is None:
            return self.ask_teacher(step, minibatch.images)
        return self.bank[minibatch.rows]
