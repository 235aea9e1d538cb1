"""Making of a recipe's teacher: trained, loaded from a checkpoint, or found in the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from rltemp.distillation.randomness import random_layers
from rltemp.distillation.students import LoopStudents, StackedStudents
from rltemp.distillation.teacher import Ensemble
from rltemp.distillation.training_images import TrainingImages
from rltemp.errors import InputError
from rltemp.files import atomic_write
from rltemp.networks import Execution, Network, load_checkpoint
from rltemp.networks.own import code_of
from rltemp.reading import read_safetensors
from rltemp.recipes import schema
from rltemp.seeding import make_generator
from rltemp.tasks.label_training import train_on_labels

__all__ = ["make_teacher"]

_VERSION = 1
"""Increases whenever the same settings give another teacher."""


def make_teacher(
    settings: schema.Teacher,
    build: Callable[[torch.Generator], Network],
    train: TrainingImages,
    execution: Execution,
    *,
    cache: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Ensemble:
    """The teacher of a recipe, on the device of `train`.

    Args:
        settings: of the recipe.
        build: builds a member from a generator.
        train: the teacher's training images.
        execution: precision, memory layout, and compilation.
        cache: folder where trained teachers are kept and looked for; None trains every time.
        advance: called after every update of the training.

    Raises:
        InputError: for a checkpoint that does not fit.
        DivergenceError: for a training that diverges.
    """
    # Seeds of the members, far from the students', so that teacher and student never start with the same weights.
    seeds = [(settings.seed << 32) + (member << 16) + 1 for member in range(settings.members)]
    members = [build(make_generator(seed, "teacher")) for seed in seeds]
    if settings.checkpoint is not None:
        load_checkpoint(members[0], settings.checkpoint)
        return Ensemble(members, execution).to(train.device)
    kept = None if cache is None else _place(cache, settings, members[0], train, execution)
    if kept is None or not _load(nn.ModuleList(members), kept):
        members = _train(settings, members, seeds, train, execution, advance)
        if kept is not None:
            _keep(nn.ModuleList(members), kept)
    return Ensemble(members, execution).to(train.device)


def _train(
    settings: schema.Teacher,
    members: Sequence[Network],
    seeds: Sequence[int],
    train: TrainingImages,
    execution: Execution,
    advance: Callable[[], None],
) -> list[Network]:
    optimization = schema.Optimization(
        epochs=settings.epochs,
        batch_size=min(settings.batch_size, len(train)),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )
    kind = StackedStudents if members[0].stacks else LoopStudents
    students = kind(members, execution).to(train.device)
    minibatches = train.minibatches(seeds, optimization.batch_size)
    train_on_labels(students, minibatches, students.forward_seeds(seeds), optimization, advance)
    return [students.extract(index) for index in range(len(members))]


def _place(cache: Path, settings: schema.Teacher, member: Network, train: TrainingImages, execution: Execution) -> Path:
    """The file in `cache` where the teacher is, or will be."""
    # An augmentation that the teacher's settings repeat makes no other teacher than one that they leave to the data,
    # but they were part of the name.
    places = [
        cache / f"{_fingerprint(named, member, train, execution)}.safetensors"
        for named in (dataclasses.replace(settings, shift=None, flip=None), settings)
    ]
    return next((place for place in places if place.exists()), places[0])


def _fingerprint(settings: schema.Teacher, member: Network, train: TrainingImages, execution: Execution) -> str:
    """Digest of all that decides the teacher: images, labels, augmentation, settings, precision, code of one's own."""
    digest = hashlib.sha256()
    for part in train.content():
        digest.update(part)
    words = [_VERSION, train.classes, _kept_settings(settings), repr(train.augmentation), repr(execution)]
    words += random_layers(member)
    words += code_of(member)
    digest.update(json.dumps(words, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _kept_settings(settings: schema.Teacher) -> dict[str, object]:
    """The settings of the training itself: images and augmentation, which the others decide, are hashed themselves."""
    left_out = ("without", "noise", "source", "path")
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in left_out}


def _keep(members: nn.ModuleList, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in members.state_dict().items()}
    atomic_write(path, safetensors.torch.save(weights))


def _load(members: nn.ModuleList, path: Path) -> bool:
    """Load the members' weights from the cache at `path`; false, without a change, if there are none that fit."""
    try:
        weights = read_safetensors(path)
    except InputError:
        return False
    own = members.state_dict()
    if set(weights) != set(own) or not all(_fits(weights[name], value) for name, value in own.items()):
        return False
    members.load_state_dict(weights)
    return True


def _fits(kept: Tensor, own: Tensor) -> bool:
    return kept.shape == own.shape and kept.dtype == own.dtype and bool(torch.isfinite(kept).all())
