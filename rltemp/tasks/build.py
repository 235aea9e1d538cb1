"""Building of a task from a recipe, which is checked before any work starts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from rltemp.data import Dataset, ImageFiles
from rltemp.distillation.image_views import BANK_CHUNK, ImageViews
from rltemp.distillation.images_on_disk import ImagesOnDisk
from rltemp.distillation.randomness import random_layers
from rltemp.distillation.task import Task
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import ImagesInMemory, TrainingImages
from rltemp.errors import InputError
from rltemp.networks import Execution, Network, check_request, make_network
from rltemp.networks.execution import native_dtype
from rltemp.recipes import schema
from rltemp.recipes.consistency import check_consistency
from rltemp.seeding import make_generator
from rltemp.tasks.parts import Parts, make_parts
from rltemp.tasks.shelf import FolderShelf, Shelf
from rltemp.tasks.sources import Source, check_source, load_source, make_augmentation
from rltemp.tasks.teacher_bank import teacher_bank
from rltemp.tasks.teachers import make_teacher

__all__ = [
    "assemble_task",
    "build_steps",
    "build_task",
    "check_files",
    "check_networks",
    "check_recipe",
    "settle_precision",
]

_LINEAR = ("mlp", "text-bag")
"""Networks without convolutions: so small that converting takes longer than it saves."""


def build_task(
    recipe: schema.Recipe,
    *,
    device: torch.device | str | None = None,
    advance: Callable[[], None] = lambda: None,
    cache: str | Path | None = None,
    shelf: Shelf | None = None,
    read: Callable[[schema.Data], Source] | None = None,
    allow_download: bool = False,
    allow_code: bool = False,
) -> Task:
    """Load the data and train the teacher of a recipe.

    Args:
        recipe: the settings.
        device: where data and networks are; by default the recipe's.
        advance: called `build_steps(recipe)` times while the teacher is trained and its logits are computed.
        cache: a folder, created if missing, where trained teachers, their logits, and decoded images are kept and
            looked for, so that a recipe's teacher is trained once.
        shelf: where teachers and their logits are kept instead.
        read: reads the images that data settings name, in the place of `load_source`: they need not be here.
        allow_download: whether data and networks may be downloaded.
        allow_code: whether modules that the recipe names, for its data or its networks, may be imported, which runs
            their code.

    Raises:
        InputError: for values out of range or that contradict each other, unknown networks or options, missing files, a
            download that is not allowed, or data and networks that do not fit together.
    """
    check = check_recipe if read is None else check_networks
    check(recipe, allow_download=allow_download, allow_code=allow_code)
    cache = None if cache is None else Path(cache)
    if shelf is None and cache is not None:
        shelf = FolderShelf(cache / "teachers")
    read = read or partial(load_source, cache=cache, allow_code=allow_code)
    source = read(recipe.data)
    return assemble_task(
        recipe, source, device=device, advance=advance, cache=cache, shelf=shelf, read=read, allow_code=allow_code
    )


def assemble_task(
    recipe: schema.Recipe,
    source: Source,
    *,
    device: torch.device | str | None = None,
    advance: Callable[[], None] = lambda: None,
    cache: Path | None = None,
    shelf: Shelf | None = None,
    read: Callable[[schema.Data], Source] = load_source,
    allow_code: bool = False,
) -> Task:
    """Split the images of a source and train the teacher of a recipe; arguments and errors are those of `build_task`.

    Args:
        recipe: the settings, which `check_recipe` has let pass.
        source: the images.
        device: where data and networks are; by default the recipe's.
        advance: called while the teacher is trained and its logits are computed.
        cache: where decoded images are kept and looked for.
        shelf: where trained teachers and their logits are kept and looked for; None keeps none.
        read: reads the teacher's images where they are of another source.
        allow_code: whether modules of the recipe's networks may be imported.
    """
    device = torch.device(device if device is not None else _device(recipe.execution.device))
    execution = _execution(settle_precision(recipe, device).execution)
    parts = make_parts(recipe, source, cache)
    taught = parts.teacher if recipe.teacher.source is None else _of_another_source(recipe, parts, cache, read)
    probe = parts.sample.to(device)
    make_student = _builder(recipe.student, probe, allow_code)

    def images(part: Dataset | ImageFiles, settings: schema.Data) -> ImagesInMemory | ImagesOnDisk:
        augmentation = make_augmentation(settings, probe, source.preparation)
        if isinstance(part, Dataset):
            # In memory, the probe consists of all the students' training images, already on the device.
            return ImagesInMemory(probe if part is parts.sample else part.to(device), augmentation)
        return ImagesOnDisk(part, probe.shape[-1], augmentation, device, settings.workers)

    # Before the teacher is trained: it refuses an augmentation that does not fit.
    students_images = images(parts.train, recipe.data)
    network = make_teacher(
        recipe.teacher,
        _builder(recipe.teacher.network, probe, allow_code),
        images(taught, _of_teacher(recipe)),
        execution,
        shelf=shelf,
        advance=advance,
    )
    training = _with_views(students_images, recipe.data)
    asked = teacher_bank(training, network, shelf=shelf, advance=advance) if isinstance(training, ImageViews) else None
    return Task(
        training=training,
        probe=probe,
        validation=parts.validation.to(device),
        test=parts.test.to(device),
        teacher=Teacher(network, asked),
        make_student=make_student,
        optimization=recipe.optimization,
        stacked=_stacks(recipe.execution, make_student(make_generator(0))),
        execution=execution,
        replaced=parts.replaced,
    )


def check_recipe(recipe: schema.Recipe, *, allow_download: bool = False, allow_code: bool = False) -> None:
    """Raise `InputError` for all mistakes in a recipe that can be found before any work starts.

    Args:
        recipe: the settings, possibly from an untrusted source.
        allow_download: whether data and networks may be downloaded.
        allow_code: whether modules that the recipe names, for its data or its networks, may be imported, which runs
            their code.

    Raises:
        InputError: for values out of range or that contradict each other, unknown networks or options, missing files,
            or a download or an import that is not allowed.
    """
    check_networks(recipe, allow_download=allow_download, allow_code=allow_code)
    check_files(recipe, allow_download=allow_download, allow_code=allow_code)


def check_networks(recipe: schema.Recipe, *, allow_download: bool = False, allow_code: bool = False) -> None:
    """The part of `check_recipe` that is about values and networks; arguments and errors are the same."""
    check_consistency(recipe)
    for field, network in (("student", recipe.student), ("teacher.network", recipe.teacher.network)):
        leave = {"allow_download": allow_download, "allow_code": allow_code}
        check_request(field, network.name, network.options, **leave)


def check_files(recipe: schema.Recipe, *, allow_download: bool = False, allow_code: bool = False) -> None:
    """The part of `check_recipe` that is about what must be on disk; arguments and errors are the same."""
    check_source(recipe.data, allow_download=allow_download, allow_code=allow_code)
    if recipe.teacher.source is not None:
        try:
            check_source(_of_source(recipe), allow_download=allow_download, allow_code=allow_code)
        except InputError as error:
            raise InputError(f"teacher.source {recipe.teacher.source!r}: {error}") from error
    checkpoint = recipe.teacher.checkpoint
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise InputError(f"teacher.checkpoint must be a file, got {checkpoint}, which does not exist")


def build_steps(recipe: schema.Recipe) -> int:
    """Number of calls of `advance` in `build_task`, unless teacher and logits are found in the cache.

    With `teacher.without` it is an estimate, as if all classes had equally many images.
    """
    images = max(1, round((1.0 - recipe.teacher.without) * (recipe.teacher.train or recipe.data.train)))
    updates = recipe.teacher.epochs * (images // min(recipe.teacher.batch_size, images))
    random = bool(recipe.data.shift or recipe.data.flip or recipe.data.noise)
    views = (recipe.data.views or 0) if random or not recipe.data.in_memory else 1
    return (0 if recipe.teacher.checkpoint else updates) + math.ceil(views * recipe.data.train / BANK_CHUNK)


def settle_precision(recipe: schema.Recipe, device: torch.device | None = None) -> schema.Recipe:
    """The recipe with the precision that "auto" stands for on this machine; any other recipe unchanged.

    Args:
        recipe: the settings.
        device: where the networks run; by default the recipe's.

    Raises:
        InputError: for a device that is not there.
    """
    if recipe.execution.precision != "auto":
        return recipe
    dtype = native_dtype(device or torch.device(_device(recipe.execution.device)))
    linear = recipe.student.name in _LINEAR and recipe.teacher.network.name in _LINEAR
    precision: Literal["float32", "bfloat16"] = "float32" if linear or dtype == torch.float32 else "bfloat16"
    return dataclasses.replace(recipe, execution=dataclasses.replace(recipe.execution, precision=precision))


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("execution.device must be 'cpu' or 'auto' where there is no GPU, got 'cuda'")
    return name


def _execution(settings: schema.Execution) -> Execution:
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[settings.precision]
    return Execution(dtype, settings.channels_last, settings.compile)


def _stacks(settings: schema.Execution, student: Network) -> bool:
    """Whether students run stacked."""
    if settings.side_by_side == "auto":
        return student.stacks
    if settings.side_by_side == "stacked" and (layers := random_layers(student)):
        raise InputError(
            f"execution.side_by_side must be 'auto' or 'loop' for students that draw in training, as {layers[0]!r} of "
            f"{type(student).__name__} does, got 'stacked'"
        )
    return settings.side_by_side == "stacked"


def _of_teacher(recipe: schema.Recipe) -> schema.Data:
    """The data settings with the augmentation of the teacher's training."""
    data, teacher = recipe.data, recipe.teacher
    return dataclasses.replace(
        data,
        shift=data.shift if teacher.shift is None else teacher.shift,
        flip=data.flip if teacher.flip is None else teacher.flip,
        noise=data.noise if teacher.noise is None else teacher.noise,
    )


def _of_source(recipe: schema.Recipe) -> schema.Data:
    """The data settings with the teacher's source."""
    assert recipe.teacher.source is not None
    return dataclasses.replace(recipe.data, name=recipe.teacher.source, path=recipe.teacher.path)


def _of_another_source(
    recipe: schema.Recipe, own: Parts, cache: Path | None, read: Callable[[schema.Data], Source]
) -> Dataset | ImageFiles:
    """The teacher's images where they are not those of the students' source."""
    settings = _of_source(recipe)
    images = make_parts(dataclasses.replace(recipe, data=settings), read(settings), cache).teacher
    theirs = images.shape if isinstance(images, Dataset) else own.sample.shape
    if (images.classes, theirs) != (own.sample.classes, own.sample.shape):
        raise InputError(
            f"teacher.source must have {own.sample.classes} classes and instances of shape {list(own.sample.shape)}, "
            f"as {recipe.data.name!r}, got {images.classes} and {list(theirs)} of {settings.name!r}"
        )
    return images


def _with_views(images: ImagesInMemory | ImagesOnDisk, settings: schema.Data) -> TrainingImages:
    """The images as a bounded number of views, or unchanged if each is augmented anew."""
    random = any(transform.random for transform in images.augmentation.transforms)
    count = settings.views if random else 1
    if isinstance(images, ImagesOnDisk) or count is None:
        return images
    return ImageViews(images, count, make_generator(settings.split_seed, "views"))


def _builder(network: schema.Network, data: Dataset, allow_code: bool) -> Callable[[torch.Generator], Network]:
    def build(generator: torch.Generator) -> Network:
        shape, options = data.shape, network.options
        return make_network(network.name, data.classes, shape, generator, allow_code=allow_code, **options)

    build(make_generator(0))  # raises before the teacher is trained if the network does not fit these images
    return build
