"""A teacher is its settings' doing, whatever its networks draw while they are trained."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rltemp.distillation import Task
from rltemp.distillation.teacher import Ensemble
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.networks import ExternalNetwork, Network
from rltemp.networks.initialization import seeded_by
from rltemp.recipes import Recipe
from rltemp.tasks import build_task
from rltemp.tasks import teachers as module
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


def _kept_by(recipe: Recipe, task: Task, **settings: Any) -> str:
    """The file of a teacher whose own `shift` and `flip` have these values."""
    unsaid = ("without", "noise", "source", "path")  # which came later
    named = {name: value for name, value in dataclasses.asdict(recipe.teacher).items() if name not in unsaid}
    words = [1, 10, named | {"seed": 0, "members": 1} | settings, repr(task.augmentation), repr(task.execution)]
    digest = hashlib.sha256(task.probe.images.numpy().tobytes() + task.probe.targets.numpy().tobytes())
    digest.update(json.dumps(words, sort_keys=True).encode())
    return f"{digest.hexdigest()[:16]}.safetensors"


def _own(recipe: Recipe, **settings: Any) -> Recipe:
    return dataclasses.replace(recipe, teacher=dataclasses.replace(recipe.teacher, **settings))


def test_a_teacher_is_kept_by_its_images_whichever_settings_chose_them(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path
) -> None:
    """Teachers that were kept before there were such settings are found, those of an augmentation said twice too."""
    for settings in ({"without": 0.0}, {"without": 0.3}, {"noise": 0.3}, {"shift": 1, "flip": False}):
        _teacher(_own(tiny_recipe, **settings), tiny_task, rate=0.0, cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [_kept_by(tiny_recipe, tiny_task)]


def test_a_teacher_that_was_kept_with_its_own_augmentation_in_the_name_is_found(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _own(tiny_recipe, shift=1, flip=False)
    weights = _weights(_teacher(recipe, tiny_task, rate=0.0, cache=tmp_path))
    (path,) = tmp_path.iterdir()
    before = path.rename(tmp_path / _kept_by(recipe, tiny_task, shift=1, flip=False))
    assert before != path
    monkeypatch.setattr(module, "_train", None)
    assert torch.equal(_weights(_teacher(recipe, tiny_task, rate=0.0, cache=tmp_path)), weights)


def test_the_noise_of_a_teacher_is_the_datas_unless_it_has_its_own(tiny_recipe: Recipe, tiny_task: Task) -> None:
    def weights(recipe: Recipe) -> Tensor:
        return torch.cat([parameter.flatten() for parameter in build_task(recipe).teacher.parameters()])

    def noisy(recipe: Recipe, noise: float) -> Recipe:
        return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, noise=noise))

    usual = torch.cat([parameter.flatten() for parameter in tiny_task.teacher.parameters()])
    assert tiny_recipe.data.noise == 0.3
    assert torch.equal(weights(_own(tiny_recipe, noise=None)), usual)
    assert torch.equal(weights(_own(tiny_recipe, noise=0.3)), usual)
    quiet = weights(noisy(tiny_recipe, 0.0))
    assert not torch.equal(quiet, usual)
    assert torch.equal(weights(_own(tiny_recipe, noise=0.0)), quiet)
    assert torch.equal(weights(noisy(_own(tiny_recipe, noise=0.3), 0.0)), usual)
    # It is the teacher's alone.
    students = [build_task(_own(tiny_recipe, noise=noise)).minibatches([3]).draw().images for noise in (None, 0.0)]
    assert torch.equal(*students)
