"""Tasks on trees of images: parts, preparation, views, teachers that are kept, students that do not stack."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from rltemp import InputError, LearnedPolicy, LogitFeatures
from rltemp.distillation import DistillationRun, LoopStudents, StackedStudents, Task, score
from rltemp.distillation.image_views import ImageViews
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.teacher import Ensemble
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.features import ALIGNED_FEATURES
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task
from rltemp.tasks import teachers as module
from rltemp.tasks.build import build_steps
from rltemp.temperatures import Temperatures

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that differ in color, 16 x 16 px: 12 training and 4 test images each."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for color, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 200, (16, 16, 3), dtype=np.uint8)
                pixels[..., color] += 55
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def recipe(tree: Path) -> Recipe:
    """24 training images at 8 x 8 px, 6 held out; small CNNs; 2 epochs of 3 updates on 8 instances."""
    return load_recipe(
        "cifar100-cpu",
        {
            "data": {"path": str(tree), "train": 24, "validation": 6, "image_size": 8, "shift": 1, "views": 2},
            "teacher": {"network": {"options": {"channels": [8, 8]}}, "train": 30, "epochs": 2, "batch_size": 8},
            "student": {"options": {"channels": [4, 4]}},
            "optimization": {"epochs": 2, "batch_size": 8},
            "policy": {"probe_size": 8, "every": 2},
        },
    )


def _with(recipe: Recipe, part: str, **values: Any) -> Recipe:
    return dataclasses.replace(recipe, **{part: dataclasses.replace(getattr(recipe, part), **values)})


@pytest.fixture(scope="session")
def task(recipe: Recipe) -> Task:
    return build_task(recipe)


def _keys(images: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def _pixels(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


def test_training_and_validation_come_from_one_part_and_test_images_from_the_other(tree: Path, task: Task) -> None:
    assert [len(part) for part in (task.probe, task.validation, task.test)] == [24, 6, 12]
    assert task.probe.images.dtype == torch.uint8
    assert task.probe.classes == 3
    pooled = {
        part: {
            _pixels(path)
            .double()
            .unfold(1, 2, 2)
            .unfold(2, 2, 2)
            .mean((-1, -2))
            .round()
            .to(torch.uint8)
            .numpy()
            .tobytes()
            for path in (tree / part).glob("*/*.png")
        }
        for part in ("train", "test")
    }
    train, validation, test = (_keys(part.images) for part in (task.probe, task.validation, task.test))
    assert len(train | validation) == 30
    assert train | validation <= pooled["train"]
    assert test == pooled["test"]


def test_a_teacher_with_more_images_has_the_students_and_none_of_validation(
    recipe: Recipe, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    train = module._train

    def spy(settings: Any, members: Any, seeds: Any, data: Any, *rest: Any) -> Any:
        seen.append(data.dataset.images)
        return train(settings, members, seeds, data, *rest)

    monkeypatch.setattr(module, "_train", spy)
    again = build_task(recipe)
    assert torch.equal(again.probe.images, task.probe.images)
    assert len(seen[0]) == 30
    assert _keys(task.probe.images) < _keys(seen[0])
    assert not _keys(task.validation.images) & _keys(seen[0])


def test_cifar_is_normalized_by_its_published_moments_and_a_folder_by_its_own(recipe: Recipe, task: Task) -> None:
    pixels = task.test.images.double() / 255
    mean, std = torch.tensor([0.5071, 0.4867, 0.4408]), torch.tensor([0.2675, 0.2565, 0.2761])
    expected = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(task.augmentation.clean(task.test.images).double(), expected, rtol=1e-5, atol=1e-5)

    own = build_task(_with(_with(recipe, "data", name="folder"), "teacher", epochs=1))
    everything = torch.cat([own.probe.images, own.validation.images])
    # Six training images belong to no part here, yet count: the moments are of the whole training part.
    assert len(everything) == 30
    clean = own.augmentation.clean(everything)
    assert clean.mean((0, 2, 3)).abs().max() < 0.1
    assert (clean.std((0, 2, 3)) - 1).abs().max() < 0.1


def test_scores_look_at_prepared_images(task: Task) -> None:
    students = task.students([0, 1])
    scores = score(students, task.test, task.augmentation)
    prepared = dataclasses.replace(task.test, images=task.augmentation.clean(task.test.images))
    assert torch.equal(scores.nll, score(students, prepared).nll)
    logits = students.extract(1).eval()(prepared.images).detach().double()
    expected = torch.nn.functional.cross_entropy(logits, task.test.targets)
    assert float(scores.nll[1]) == pytest.approx(float(expected), rel=1e-5)


def test_convolutions_run_one_after_the_other_and_perceptrons_side_by_side(recipe: Recipe, task: Task) -> None:
    assert isinstance(task.students([0]), LoopStudents)
    perceptron = dataclasses.replace(recipe, student=dataclasses.replace(recipe.student, name="mlp", options={}))
    assert isinstance(build_task(perceptron).students([0]), StackedStudents)


def test_students_meet_each_view_they_are_said_to_meet(task: Task) -> None:
    views = task.training
    assert isinstance(views, ImageViews)
    assert task.teacher.bank is not None
    assert task.teacher.bank.shape == (2 * 24, 3)
    stream = task.minibatches([3, 4])
    met = set()
    for _ in range(30):
        batch = stream.draw()
        assert batch.rows is not None
        met |= set(batch.rows.flatten().tolist())
        images, targets = views.look(batch.rows.flatten())
        assert torch.equal(batch.images.flatten(0, 1), images)
        assert torch.equal(batch.targets.flatten(), targets)
        assert torch.equal(targets, task.probe.targets[batch.rows.flatten() % 24])
    assert met == set(range(48))
    assert len(_keys(views.look(torch.arange(48))[0])) > 40  # hardly any two views are alike


def test_the_bank_says_what_the_teacher_would(task: Task) -> None:
    run = DistillationRun(task, [3, 4])
    for _ in range(3):
        seen = run.observe()
        asked = task.teacher.ask(seen.minibatch.images)
        torch.testing.assert_close(seen.teacher_logits, asked, rtol=1e-4, atol=1e-5)
        run.update(Temperatures.shared(torch.full((16,), 2.0)))


def test_without_augmentation_there_is_one_view_and_without_views_no_bank(recipe: Recipe) -> None:
    still = build_task(_with(recipe, "data", shift=0, flip=False, views=None))
    assert still.teacher.bank is not None
    assert still.teacher.bank.shape == (24, 3)
    batch = still.minibatches([0]).draw()
    assert batch.rows is not None
    assert torch.equal(batch.images[0], still.augmentation.clean(still.probe.images[batch.rows[0]]))
    fresh = build_task(_with(recipe, "data", views=None))
    assert isinstance(fresh.training, ImagesInMemory)
    assert (fresh.teacher.bank, fresh.minibatches([0]).draw().rows) == (None, None)


def test_a_teacher_is_trained_once(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_task(recipe, cache=tmp_path)
    monkeypatch.setattr(module, "_train", _refuse)
    again = build_task(recipe, cache=tmp_path)
    assert first.teacher.bank is not None
    assert again.teacher.bank is not None
    assert torch.equal(first.teacher.bank, again.teacher.bank)
    for same in (_with(recipe, "optimization", lr=0.01), _with(recipe, "data", validation=5)):
        build_task(same, cache=tmp_path)  # neither concerns the teacher
    for changed in (
        _with(recipe, "teacher", seed=1),
        _with(recipe, "teacher", epochs=3),
        _with(recipe, "teacher", flip=False),
        _with(recipe, "data", split_seed=1),
        _with(recipe, "data", label_noise=0.5),
        _with(recipe, "execution", precision="bfloat16"),
    ):
        with pytest.raises(AssertionError, match="trained again"):
            build_task(changed, cache=tmp_path)


def test_a_teacher_is_asked_once(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_task(recipe, cache=tmp_path).teacher.bank
    (kept,) = (tmp_path / "teachers").glob("*-logits.safetensors")
    content = kept.read_bytes()
    kept.write_bytes(content[:-10])
    assert first is not None
    again = build_task(recipe, cache=tmp_path).teacher.bank
    assert again is not None
    assert torch.equal(again, first)
    assert kept.read_bytes() == content
    monkeypatch.setattr(Ensemble, "forward", _refuse)
    found = build_task(recipe, cache=tmp_path).teacher.bank
    assert found is not None
    assert torch.equal(found, first)
    for changed in (_with(recipe, "data", views=3), _with(recipe, "data", shift=2)):
        monkeypatch.undo()
        build_task(_with(changed, "data", views=1), cache=tmp_path)  # the teacher, without these views
        monkeypatch.setattr(Ensemble, "forward", _refuse)
        with pytest.raises(AssertionError, match="trained again"):
            build_task(changed, cache=tmp_path)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("data", {}),
        ("data", {"views": None}),
        ("data", {"shift": 0, "flip": False}),
        ("data", {"views": 50}),
        ("teacher", {"train": None, "batch_size": 100}),
    ],
)
def test_the_steps_of_building_are_announced(recipe: Recipe, part: str, values: dict[str, Any]) -> None:
    steps: list[int] = []
    changed = _with(recipe, part, **values)
    build_task(changed, advance=lambda: steps.append(1))
    assert len(steps) == build_steps(changed)


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_teacher_is_trained_again(recipe: Recipe, task: Task, tmp_path: Path, damage: str) -> None:
    build_task(recipe, cache=tmp_path)
    (path,) = (path for path in (tmp_path / "teachers").iterdir() if "-" not in path.name)
    content = path.read_bytes()
    other = safetensors.torch.save({"0.classifier.weight": torch.zeros(1)})
    path.write_bytes({"cut": content[:-100], "other": other, "empty": b""}[damage])
    again = build_task(recipe, cache=tmp_path)
    assert task.teacher.bank is not None
    assert again.teacher.bank is not None
    assert torch.equal(again.teacher.bank, task.teacher.bank)
    assert path.read_bytes() == content


def test_a_teacher_comes_out_of_a_checkpoint(recipe: Recipe, task: Task, tmp_path: Path) -> None:
    assert isinstance(task.teacher.network, Ensemble)
    (member,) = task.teacher.network.members
    weights = {name: value.contiguous() for name, value in member.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "teacher.safetensors")
    torch.save({"model": weights}, tmp_path / "teacher.pth")
    for name in ("teacher.safetensors", "teacher.pth"):
        loaded = build_task(_with(recipe, "teacher", checkpoint=str(tmp_path / name)))
        assert task.teacher.bank is not None
        assert loaded.teacher.bank is not None
        assert torch.equal(loaded.teacher.bank, task.teacher.bank)
    with pytest.raises(InputError, match=r"teacher\.members must be 1 for a teacher out of a checkpoint, got 2"):
        build_task(_with(recipe, "teacher", checkpoint=str(tmp_path / "teacher.pth"), members=2))


def test_an_aligned_policy_runs_where_students_do_not_stack(task: Task, recipe: Recipe) -> None:
    policy = LearnedPolicy(LogitFeatures(ALIGNED_FEATURES))
    together = PolicyRun(task, [policy] * 2, [5, 6], recipe.policy)
    alone = PolicyRun(task, [policy], [6], recipe.policy)
    for whole in (together, alone):
        # The probe draws by the first seed.
        while not whole.run.finished:
            whole.advance()
    for parameter in together.run.students.parameters():
        assert bool(torch.isfinite(parameter).all())


def test_tangents_through_a_network_are_directional_derivatives(task: Task) -> None:
    students = task.students([5]).double()
    images = task.augmentation.clean(task.probe.images[:8]).double()
    generator = torch.Generator().manual_seed(0)
    parameters = list(students.parameters())
    direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    tangents = students.tangents(images[None], direction)
    step = 1e-6
    logits = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, part in zip(parameters, direction, strict=True):
                parameter.add_(part, alpha=sign * step)
            logits.append(students.predict(images).logits)
            for parameter, part in zip(parameters, direction, strict=True):
                parameter.sub_(part, alpha=sign * step)
    torch.testing.assert_close(tangents, (logits[0] - logits[1]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("data", {"path": None}, "data.path must name the folder of 'cifar100', got null"),
        ("data", {"path": "nowhere"}, "data.path must be the folder of 'cifar100', got nowhere, no folder .*download"),
        ("data", {"path": "."}, "root must hold train/<class>/\\*"),
        ("data", {"name": "folder", "path": "nowhere"}, "data.path must be the folder of 'folder', got nowhere"),
        ("data", {"name": "folder", "path": "."}, "folder must be a folder with one sub-folder"),
        ("data", {"image_size": 5}, "side must divide"),
        ("data", {"views": 0}, "data.views must be null or >= 1, got 0"),
        ("data", {"validation": 13}, "sizes must be >= 1 each and fit into 36 instances"),
        ("teacher", {"train": 20}, "teacher.train must be at least data.train = 24, got 20"),
        ("teacher", {"train": 31}, "fit into 36 instances"),
        ("execution", {"device": "cuda"}, "execution.device must be 'cpu' or 'auto'"),
    ],
)
def test_what_cannot_be_built_is_refused(recipe: Recipe, part: str, values: dict[str, Any], message: str) -> None:
    if "device" in values and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=message):
        build_task(_with(recipe, part, **values))


def test_a_download_needs_leave(recipe: Recipe) -> None:
    """Given it, a tree of images that is there already is read, and nothing fetched."""
    recipe = _with(recipe, "data", download=True)
    with pytest.raises(InputError, match=r"^data\.download true would download CIFAR-100: give --allow-download"):
        build_task(recipe)
    assert len(build_task(recipe, allow_download=True).probe) == recipe.data.train


def test_classes_without_test_images_are_refused(recipe: Recipe, tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree" / "test" / "cat")
    with pytest.raises(InputError, match="as many classes to train as to test"):
        build_task(_with(_with(recipe, "data", name="folder", path=str(tmp_path / "tree")), "teacher", epochs=1))


def _refuse(*arguments: Any) -> Any:
    raise AssertionError("trained again, or asked")
