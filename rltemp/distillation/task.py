"""What is distilled into what, on which data: everything a run needs but a policy and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch

from rltemp.data import Augmentation, Dataset
from rltemp.distillation.minibatches import MinibatchStream
from rltemp.distillation.students import LoopStudents, StackedStudents, Students
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import TrainingImages
from rltemp.networks import Execution, Network
from rltemp.objectives.method import Method
from rltemp.recipes import schema
from rltemp.seeding import make_generator

__all__ = ["Task"]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One distillation problem.

    Attributes:
        training: images that every policy trains on, and how they are augmented.
        probe: clean training images in memory, the only ones the alignment's probe may use: all of them, or where they
            are on disk some.
        validation: held-out images: the reward's probe, and what anything is picked on.
        test: read by the final evaluation alone.
        teacher: what is distilled.
        make_student: builds a student from a generator.
        optimization: how students are trained.
        stacked: whether students run side by side by stacking, or one after the other.
        execution: how students run.
    """

    training: TrainingImages
    probe: Dataset
    validation: Dataset
    test: Dataset
    teacher: Teacher
    make_student: Callable[[torch.Generator], Network]
    optimization: schema.Optimization
    stacked: bool = True
    execution: Execution = dataclasses.field(default_factory=Execution)

    @property
    def steps(self) -> int:
        """Updates of one run."""
        return self.optimization.epochs * (len(self.training) // self.optimization.batch_size)

    @property
    def augmentation(self) -> Augmentation:
        """Of training images; its `clean` is what probe, validation and test images need."""
        return self.training.augmentation

    @property
    def device(self) -> torch.device:
        """Where data and networks are."""
        return self.training.device

    @property
    def method(self) -> Method:
        """What is minimized, unless a run comes with a method of its own."""
        return Method.of(self.optimization)

    def students(self, seeds: Sequence[int]) -> Students:
        """Fresh students, one per seed."""
        members = [self.make_student(make_generator(seed, "student")) for seed in seeds]
        kind = StackedStudents if self.stacked else LoopStudents
        return kind(members, self.execution).to(self.device)

    def minibatches(self, seeds: Sequence[int]) -> MinibatchStream:
        """What students with these seeds see."""
        return self.training.minibatches(seeds, self.optimization.batch_size)
