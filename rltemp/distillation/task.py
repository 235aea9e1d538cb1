"""What is distilled into what, on which data: everything a run needs but a policy and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rltemp.data import Augmentation, Dataset
from rltemp.data.augment import GaussianNoise, HorizontalFlip, Shift, Transform
from rltemp.data.digits import load_digits
from rltemp.data.splits import split
from rltemp.distillation.minibatches import Minibatches
from rltemp.distillation.students import LoopStudents, StackedStudents, Students
from rltemp.distillation.teacher import Ensemble, train_members
from rltemp.errors import InputError
from rltemp.networks import Network, make_network
from rltemp.recipes import schema
from rltemp.seeding import make_generator

__all__ = ["Task", "build_task"]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One distillation problem.

    Attributes:
        train: images that every policy trains on, and the only ones the alignment's probe may use.
        validation: held-out images: the reward's probe, and what anything is picked on.
        test: read by the final evaluation alone.
        augmentation: of training images.
        teacher: maps images [N, ...] to logits [N, C].
        make_student: builds a student from a generator.
        optimization: how students are trained.
        stacked: whether students run side by side by stacking, or one after the other.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    augmentation: Augmentation
    teacher: nn.Module
    make_student: Callable[[torch.Generator], Network]
    optimization: schema.Optimization
    stacked: bool = True

    @property
    def steps(self) -> int:
        """Updates of one run."""
        return self.optimization.epochs * (len(self.train) // self.optimization.batch_size)

    def students(self, seeds: Sequence[int]) -> Students:
        """Fresh students, one per seed."""
        members = [self.make_student(make_generator(seed, "student")) for seed in seeds]
        kind = StackedStudents if self.stacked else LoopStudents
        return kind(members).to(self.train.device)

    def minibatches(self, seeds: Sequence[int]) -> Minibatches:
        """What students with these seeds see."""
        return Minibatches(self.train, self.augmentation, seeds, self.optimization.batch_size)

    def ask_teacher(self, step: int, images: Tensor) -> Tensor:
        """The teacher's logits [K, B, C] of images [K, B, ...]; the same at every `step`."""
        logits: Tensor = self.teacher(images.flatten(0, 1))
        return logits.view(*images.shape[:2], -1)


def build_task(
    recipe: schema.Recipe, *, device: torch.device | str = "cpu", advance: Callable[[], None] = lambda: None
) -> Task:
    """Load the data and train the teacher of a recipe.

    Args:
        recipe: the setting.
        device: where data and networks live.
        advance: called after every update of the teacher's training.

    Raises:
        InputError: for a batch larger than the data, or options that do not fit the networks.
    """
    _check(recipe)
    train, validation, test = _load_parts(recipe.data)
    augmentation = _augmentation(recipe.data, train.shape)
    train, validation, test = (part.to(device) for part in (train, validation, test))
    return Task(
        train=train,
        validation=validation,
        test=test,
        augmentation=augmentation,
        teacher=_train_teacher(recipe, train, augmentation, advance),
        make_student=_builder(recipe.student, train),
        optimization=recipe.optimization,
    )


def _check(recipe: schema.Recipe) -> None:
    data, optimization = recipe.data, recipe.optimization
    for name, value in (
        ("data.train", data.train),
        ("data.validation", data.validation),
        ("optimization.epochs", optimization.epochs),
        ("optimization.batch_size", optimization.batch_size),
        ("teacher.members", recipe.teacher.members),
    ):
        if value < 1:
            raise InputError(f"{name} must be >= 1, got {value}")
    if optimization.batch_size > data.train:
        raise InputError(
            f"optimization.batch_size must be at most data.train = {data.train}, got {optimization.batch_size}"
        )
    if optimization.lr <= 0:
        raise InputError(f"optimization.lr must be > 0, got {optimization.lr:g}")


def _load_parts(settings: schema.Data) -> tuple[Dataset, Dataset, Dataset]:
    """Training, validation and test images, disjoint."""
    generator = make_generator(settings.split_seed, "split")
    digits = load_digits()
    # About the pixels' root mean square, so that inputs are of size 1.
    digits = dataclasses.replace(digits, images=digits.images / 0.5)
    parts = split(digits, {"train": settings.train, "validation": settings.validation, "test": "rest"}, generator)
    train = _with_label_noise(parts["train"], settings.label_noise, make_generator(settings.split_seed, "labels"))
    return train, parts["validation"], parts["test"]


def _with_label_noise(data: Dataset, share: float, generator: torch.Generator) -> Dataset:
    """Replace a share of the labels by labels drawn at random."""
    if not 0.0 <= share <= 1.0:
        raise InputError(f"data.label_noise must lie in [0, 1], got {share:g}")
    chosen = torch.rand(len(data), generator=generator) < share
    random = torch.randint(data.classes, (len(data),), generator=generator)
    return dataclasses.replace(data, targets=torch.where(chosen, random, data.targets))


def _augmentation(settings: schema.Data, shape: tuple[int, ...]) -> Augmentation:
    transforms: list[Transform] = []
    if settings.shift:
        transforms.append(Shift(settings.shift))
    if settings.flip:
        transforms.append(HorizontalFlip())
    if settings.noise:
        transforms.append(GaussianNoise(settings.noise, shape))
    return Augmentation(tuple(transforms))


def _builder(network: schema.Network, data: Dataset) -> Callable[[torch.Generator], Network]:
    def build(generator: torch.Generator) -> Network:
        return make_network(network.name, data.classes, data.shape, generator, **network.options)

    build(make_generator(0))  # refuses what does not fit before any work starts
    return build


def _train_teacher(
    recipe: schema.Recipe, train: Dataset, augmentation: Augmentation, advance: Callable[[], None]
) -> Ensemble:
    settings = recipe.teacher
    # Seeds of the members: far from any a student has, so that teacher and student never start alike.
    seeds = [(settings.seed << 32) + (member << 16) + 1 for member in range(settings.members)]
    build = _builder(settings.network, train)
    members = StackedStudents([build(make_generator(seed, "teacher")) for seed in seeds]).to(train.device)
    optimization = schema.Optimization(
        epochs=settings.epochs,
        batch_size=min(settings.batch_size, len(train)),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )
    train_members(members, Minibatches(train, augmentation, seeds, optimization.batch_size), optimization, advance)
    return Ensemble([members.extract(index) for index in range(settings.members)])
