"""A distillation problem: everything a run needs except a policy and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from rltemp.data import Augmentation, Dataset
from rltemp.distillation.minibatches import MinibatchStream
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.distillation.scores import clean_logits
from rltemp.distillation.students import LoopStudents, StackedStudents, Students
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import TrainingImages
from rltemp.features import positions_in
from rltemp.networks import Execution, Network
from rltemp.objectives.method import Method
from rltemp.recipes import schema
from rltemp.seeding import make_generator

__all__ = ["Task"]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One distillation problem: data, teacher, students, and how they are trained.

    Attributes:
        training: training images and their augmentation, the same for all policies.
        probe: clean training images in memory, the only ones that the probe alignment uses: all training images, or a
            sample of those on disk.
        validation: held-out images: the probe of the reward, and the data for every choice among results.
        test: images that only the final evaluation reads.
        teacher: the network that is distilled.
        make_student: builds a student from a generator.
        optimization: how students are trained.
        stacked: whether students run stacked, or one after the other.
        execution: precision, memory layout, and compilation of the students.
        replaced: which labels of the training images are not their own, [N] bool on the CPU; None if all are, or if it
            is not known.
        ranks: the processes that share every minibatch of a run; by default this one takes all of it.
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
    replaced: Tensor | None = None
    ranks: Ranks = ALONE

    @property
    def steps(self) -> int:
        """Number of updates of one run."""
        return self.optimization.epochs * (len(self.training) // self.optimization.batch_size)

    @property
    def positions(self) -> int | None:
        """Positions L of a window, each of which is an instance, where the task is of texts; None for images."""
        return self.probe.positions

    @property
    def instances(self) -> int:
        """Number of instances B of a student's minibatch: images, or tokens of all its windows."""
        return self.optimization.batch_size * (self.positions or 1)

    @cached_property
    def position(self) -> Tensor | None:
        """Where each token of a student's minibatch stands in its window, [B] in [0, 1]; None for images."""
        if self.positions is None:
            return None
        return positions_in((self.optimization.batch_size, self.positions), self.device)

    @property
    def augmentation(self) -> Augmentation:
        """Augmentation of the training images; its `clean` prepares probe, validation, and test images."""
        return self.training.augmentation

    @property
    def device(self) -> torch.device:
        """Device of data and networks."""
        return self.training.device

    @property
    def method(self) -> Method:
        """The loss to minimize, as the optimization settings describe it; a run may replace it."""
        return Method.of(self.optimization)

    @cached_property
    def teacher_test_logits(self) -> Tensor:
        """The teacher's logits [N, C] on the clean test images, in float64; computed at the first access."""
        return clean_logits(self.teacher, self.test, self.augmentation)

    def students(self, seeds: Sequence[int]) -> Students:
        """Build fresh students on the device, one per seed."""
        members = [self.make_student(make_generator(seed, "student")) for seed in seeds]
        kind = StackedStudents if self.stacked else LoopStudents
        return kind(members, self.execution).to(self.device)

    def minibatches(self, seeds: Sequence[int]) -> MinibatchStream:
        """Stream of training minibatches for students with these seeds, of this process's share of each.

        Raises:
            InputError: for a batch size that is no multiple of the number of processes.
        """
        batch = self.optimization.batch_size
        share = self.ranks.share("optimization.batch_size", batch)
        return self.training.minibatches(seeds, batch, share)
