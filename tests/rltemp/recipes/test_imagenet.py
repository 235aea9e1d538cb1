"""The recipes of ImageNet say what the papers do, and run on a tree of images on disk, resumed bit for bit."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from rltemp.distillation.policy_run import PolicyRun
from rltemp.errors import InputError
from rltemp.policies import make_policy
from rltemp.presets import make_preset
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task
from tests.pictures import write_tree

PAIRS = [("torchvision:resnet34", "torchvision:resnet18"), ("torchvision:resnet50", "mobilenetv1")]
NAMES = ["imagenet-resnet34-resnet18", "imagenet-resnet50-mobilenetv1"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of JPEG files of several sizes: 6 training and 2 validation images each."""
    root = tmp_path_factory.mktemp("imagenet")
    classes = ("n01440764", "n01443537")
    write_tree(root, {"train": 6, "val": 2}, classes, lambda number: (40 + number, 48), "jpg")
    return root


def _small(name: str, tree: Path, **changes: Any) -> Recipe:
    overrides = {
        "data": {"path": str(tree), "train": 8, "validation": 4, "image_size": 32, "workers": 0},
        "teacher": {"checkpoint": None},
        "optimization": {"epochs": 1, "batch_size": 4},
        "execution": {"device": "cpu", "precision": "float32"},
        **changes,
    }
    return load_recipe(name, overrides)


def _run(recipe: Recipe) -> PolicyRun:
    return PolicyRun(build_task(recipe), [make_policy("static", temperature=1.0)], [0], recipe.policy)


@pytest.mark.parametrize(("name", "pair"), zip(NAMES, PAIRS, strict=True))
def test_the_settings_are_the_published_ones(name: str, pair: tuple[str, str]) -> None:
    recipe = load_recipe(name)
    assert (recipe.teacher.network.name, recipe.student.name) == pair
    settings, preset = recipe.optimization, make_preset("kd-imagenet")
    assert (settings.lr, settings.momentum, settings.weight_decay, settings.batch_size) == (0.1, 0.9, 1e-4, 256)
    assert (settings.epochs, settings.nesterov, settings.schedule) == (100, False, "multistep")
    assert [share * settings.epochs for share in settings.milestones] == pytest.approx([30, 60, 90])
    assert (settings.ce_weight, settings.kd_weight) == (preset.ce_weight, preset.kd_weight) == (0.5, 0.5)
    assert (recipe.data.image_size, recipe.data.flip, recipe.data.in_memory) == (224, True, False)
    assert recipe.data.train + recipe.data.validation == 1_281_167


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_run_and_an_interrupted_run_goes_on_bit_for_bit(tree: Path, name: str) -> None:
    recipe = _small(name, tree)
    whole, broken = _run(recipe), _run(recipe)
    before = [parameter.detach().clone() for parameter in whole.run.students.parameters()]
    whole.advance()
    broken.advance()
    file = io.BytesIO()
    torch.save(broken.state_dict(), file)
    file.seek(0)
    resumed = PolicyRun(whole.run.task, [make_policy("static", temperature=1.0)], [0], recipe.policy)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    whole.advance()
    resumed.advance()
    assert whole.run.finished
    for old, new, again in zip(before, whole.run.students.parameters(), resumed.run.students.parameters(), strict=True):
        assert bool(torch.isfinite(new).all())
        assert not torch.equal(new, old)
        assert torch.equal(new, again)


def test_images_are_normalized_by_imagenets_moments_and_tested_as_center_crops(tree: Path) -> None:
    task = build_task(_small(NAMES[1], tree))
    pixels = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    white = task.augmentation.clean(pixels)[0, :, 0, 0]
    torch.testing.assert_close(white, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))
    assert (len(task.test), task.test.shape) == (4, (3, 32, 32))


def test_the_teachers_weights_are_torchvisions_file_or_a_download_with_leave(tree: Path, tmp_path: Path) -> None:
    from torchvision import models

    published = models.resnet34(num_classes=2)
    torch.save(published.state_dict(), tmp_path / "resnet34.pth")
    task = build_task(_small(NAMES[0], tree, **{"teacher.checkpoint": str(tmp_path / "resnet34.pth")}))
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(task.teacher(images), published.eval()(images), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="give --allow-download"):
        build_task(_small(NAMES[0], tree, **{"teacher.network.options.weights": "IMAGENET1K_V1"}))
    with pytest.raises(InputError, match=r"resnet34-b627a593\.pth, which does not exist"):
        build_task(_small(NAMES[0], tree, teacher={}))
    with pytest.raises(InputError, match=r"data\.in_memory must be false for 'imagenet', got true"):
        build_task(_small(NAMES[0], tree, **{"data.in_memory": True}))
