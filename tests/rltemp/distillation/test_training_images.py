"""Training images that stay on disk give the same kind of run as those in memory."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rltemp import InputError
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.images_on_disk import ImagesOnDisk
from rltemp.envs import DistillationVectorEnv
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task
from rltemp.tasks import teachers as module
from rltemp.tasks.build import build_steps
from rltemp.temperatures import Temperatures

USUAL = Temperatures.shared(torch.full((16,), 4.0))


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that differ in color; no two images are of one size. 15 training and 4 test images each."""
    root = tmp_path_factory.mktemp("sizes")
    rng = np.random.default_rng(0)
    for part, count in (("train", 15), ("test", 4)):
        for color, name in enumerate(("ant", "bee")):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 100, (14 + number, 20 - color, 3), dtype=np.uint8)
                pixels[..., color] += 155
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    return root


def _recipe(tree: Path, **data: Any) -> Recipe:
    """24 training images at 8 x 8 px, 4 held out; 2 epochs of 3 updates on 8 instances."""
    settings = {"path": str(tree), "train": 24, "validation": 4, "image_size": 8, "shift": 0, "in_memory": False}
    return load_recipe(
        "cifar100-cpu",
        {
            "data": {"name": "folder", "views": None, **settings, **data},
            "teacher": {"network": {"options": {"channels": [8, 8]}}, "train": 26, "epochs": 8, "batch_size": 8},
            "student": {"options": {"channels": [4, 4]}},
            "optimization": {"epochs": 2, "batch_size": 8},
            "policy": {"probe_size": 8, "every": 2},
            "agent": {"students": 2},
        },
    )


@pytest.fixture(scope="session")
def task(tree: Path) -> Task:
    return build_task(_recipe(tree))


def _on_disk(task: Task) -> ImagesOnDisk:
    assert isinstance(task.training, ImagesOnDisk)
    return task.training


def _play(task: Task, updates: int, run: DistillationRun | None = None) -> DistillationRun:
    run = run or DistillationRun(task, [3, 4])
    for _ in range(updates):
        run.update(USUAL)
    return run


def _weights(run: DistillationRun) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in run.students.parameters()])


def test_an_epoch_meets_every_training_image_once_and_none_that_is_held_out(tree: Path, task: Task) -> None:
    images = _on_disk(task)
    assert (len(images), task.steps, task.teacher.bank) == (24, 6, None)
    loader = task.minibatches([5])
    targets = torch.cat([loader.draw().targets[0] for _ in range(loader.per_epoch)])
    assert sorted(targets.tolist()) == sorted(images.files.targets.tolist())
    assert len(set(images.files.paths)) == 24
    assert all(Path(path).is_relative_to(tree / "train") for path in images.files.paths)
    assert task.validation.images.shape == (4, 3, 8, 8)
    assert task.test.images.shape == (8, 3, 8, 8)


def test_the_probe_sees_training_images(task: Task) -> None:
    assert torch.equal(task.probe.targets, _on_disk(task).files.targets)
    red, green = (task.probe.images[task.probe.targets == k].float().mean((0, 2, 3)) for k in (0, 1))
    assert red[0] - red[1] > 100
    assert green[1] - green[0] > 100


def test_crops_are_prepared_like_validation_images_and_the_teacher_learns_from_them(task: Task) -> None:
    loader = task.minibatches([0, 1])
    batch = loader.draw()
    assert batch.images.shape == (2, 8, 3, 8, 8)
    assert abs(batch.images.mean().item()) < 0.5
    clean = task.augmentation.clean(task.test.images)
    accuracy = (task.teacher(clean).argmax(1) == task.test.targets).float().mean()
    assert accuracy.item() == 1.0


def test_what_a_student_sees_depends_on_its_seed_alone(task: Task) -> None:
    pair, alone = task.minibatches([7, 8]), task.minibatches([8])
    for _ in range(5):
        both, one = pair.draw(), alone.draw()
        assert torch.equal(both.images[1], one.images[0])
        assert not torch.equal(both.images[0], one.images[0])


def test_workers_change_nothing(tree: Path, task: Task) -> None:
    working = build_task(_recipe(tree, workers=1))
    assert torch.equal(_weights(_play(working, 4)), _weights(_play(task, 4)))


@pytest.mark.parametrize("taken", [2, 3, 4])
def test_a_resumed_run_is_the_unbroken_one(task: Task, taken: int) -> None:
    straight = _play(task, 6)
    broken = _play(task, taken)
    state = copy.deepcopy(broken.state_dict())
    _play(task, 1, broken)
    resumed = DistillationRun(task, [3, 4])
    resumed.load_state_dict(state)
    assert torch.equal(_weights(_play(task, 6 - taken, resumed)), _weights(straight))


def test_an_agent_can_be_trained_on_it(tree: Path, task: Task) -> None:
    env = DistillationVectorEnv(16, _recipe(tree), task=task)
    observation, _ = env.reset(seed=0)
    for step in range(env.horizon):
        assert env.observation_space.contains(observation)
        observation, *_, infos = env.step(np.zeros((16, 1), np.float32))
        assert bool(infos) == (step == env.horizon - 1)
    assert np.isfinite(env.effects(np.zeros((env.horizon, 16), np.float32))).all()


def test_a_teacher_is_trained_once_unless_its_images_change(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, calls = _recipe(tree), []
    first = build_task(recipe, cache=tmp_path, advance=lambda: calls.append(0))
    assert len(calls) == build_steps(recipe)

    def refuse(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "_train", refuse)
    again = build_task(recipe, cache=tmp_path)
    assert torch.equal(
        again.teacher(first.augmentation.clean(first.test.images)),
        first.teacher(first.augmentation.clean(first.test.images)),
    )
    for changed in ({"label_noise": 0.5}, {"image_size": 9}, {"split_seed": 1}):
        with pytest.raises(AssertionError, match="trained again"):
            build_task(_recipe(tree, **changed), cache=tmp_path)


def test_wrong_labels_are_wrong_on_disk_too(tree: Path, task: Task) -> None:
    noisy = build_task(_recipe(tree, label_noise=1.0))
    assert _on_disk(noisy).files.paths == _on_disk(task).files.paths
    assert not torch.equal(_on_disk(noisy).files.targets, _on_disk(task).files.targets)
    assert torch.equal(noisy.validation.targets, task.validation.targets)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "digits"}, "data.in_memory must be true for 'digits', got false"),
        ({"image_size": None}, "data.image_size must be a number and data.views null .* got None and None"),
        ({"views": 2}, "data.image_size must be a number and data.views null .* got 8 and 2"),
        ({"train": 100, "validation": 1}, r"fit into 30 instances"),
    ],
)
def test_what_cannot_be_is_refused(tree: Path, data: dict[str, Any], message: str) -> None:
    recipe = _recipe(tree, **data)
    with pytest.raises(InputError, match=message):
        build_task(dataclasses.replace(recipe, teacher=dataclasses.replace(recipe.teacher, train=None)))
