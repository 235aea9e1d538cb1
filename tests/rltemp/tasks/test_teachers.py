"""A teacher is its settings' doing, whatever its networks draw while they are trained."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rltemp.distillation import Task
from rltemp.distillation.teacher import Ensemble
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.networks import ExternalNetwork, Network
from rltemp.networks.initialization import seeded_by
from rltemp.recipes import Recipe
from rltemp.tasks.teachers import make_teacher


def _perceptron(generator: torch.Generator, rate: float) -> Network:
    with seeded_by(generator):
        layers = nn.Sequential(nn.Flatten(), nn.Dropout(rate), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    return ExternalNetwork(layers, 10)


def _teacher(
    recipe: Recipe, task: Task, *, seed: int = 0, members: int = 1, rate: float = 0.5, cache: Path | None = None
) -> Ensemble:
    settings = dataclasses.replace(recipe.teacher, seed=seed, members=members)
    images = ImagesInMemory(task.probe, task.augmentation)
    return make_teacher(settings, lambda generator: _perceptron(generator, rate), images, task.execution, cache=cache)


def _weights(teacher: Ensemble, member: int = 0) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in teacher.members[member].parameters()])


def test_a_teacher_with_dropout_depends_on_its_seed_alone(tiny_recipe: Recipe, tiny_task: Task) -> None:
    before = torch.get_rng_state()
    weights = _weights(_teacher(tiny_recipe, tiny_task))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)  # whatever else the program draws
    assert torch.equal(_weights(_teacher(tiny_recipe, tiny_task)), weights)
    assert torch.equal(_weights(_teacher(tiny_recipe, tiny_task, members=2)), weights)
    assert not torch.equal(_weights(_teacher(tiny_recipe, tiny_task, seed=1)), weights)
    assert not torch.equal(_weights(_teacher(tiny_recipe, tiny_task, rate=0.0)), weights)


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.5, 0.0)])
def test_a_kept_teacher_is_found_by_what_it_draws_as_well(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, rates: tuple[float, float]
) -> None:
    for rate in rates:
        kept = _teacher(tiny_recipe, tiny_task, rate=rate, cache=tmp_path)
        assert torch.equal(_weights(kept), _weights(_teacher(tiny_recipe, tiny_task, rate=rate)))
    assert len(list(tmp_path.iterdir())) == len(set(rates))


def test_a_teacher_is_kept_by_its_images_whichever_setting_chose_them(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path
) -> None:
    """`without` is no part of the key, so that teachers which were kept before there was such a setting are found."""
    for without in (0.0, 0.3):
        recipe = dataclasses.replace(tiny_recipe, teacher=dataclasses.replace(tiny_recipe.teacher, without=without))
        _teacher(recipe, tiny_task, rate=0.0, cache=tmp_path)
    settings = {name: value for name, value in dataclasses.asdict(tiny_recipe.teacher).items() if name != "without"}
    words = [1, 10, settings | {"seed": 0, "members": 1}, repr(tiny_task.augmentation), repr(tiny_task.execution)]
    digest = hashlib.sha256(tiny_task.probe.images.numpy().tobytes() + tiny_task.probe.targets.numpy().tobytes())
    digest.update(json.dumps(words, sort_keys=True).encode())
    assert [path.name for path in tmp_path.iterdir()] == [f"{digest.hexdigest()[:16]}.safetensors"]
