"""What is distilled: disjoint images, labels as stated, a teacher of the training images alone."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from rltemp.data import Dataset
from rltemp.data.digits import load_digits
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.optimization import learning_rate
from rltemp.distillation.teacher import Ensemble
from rltemp.errors import InputError
from rltemp.networks import MLP
from rltemp.recipes import Recipe
from rltemp.tasks import build as module
from rltemp.tasks import build_task
from rltemp.tasks.parts import part_rows
from rltemp.tasks.sources import Source, load_source
from rltemp.temperatures import Temperatures


def _keys(images: Tensor) -> list[bytes]:
    return [image.numpy().tobytes() for image in images]


def _with(recipe: Recipe, part: str, **values: Any) -> Recipe:
    return dataclasses.replace(recipe, **{part: dataclasses.replace(getattr(recipe, part), **values)})


def test_the_parts_are_disjoint_and_together_all_images(tiny_task: Task) -> None:
    parts = (tiny_task.probe, tiny_task.validation, tiny_task.test)
    assert [len(part) for part in parts] == [64, 50, 1797 - 114]
    digits = load_digits()
    assert sorted(key for part in parts for key in _keys(part.images)) == sorted(_keys(digits.images / 0.5))
    labels = dict(zip(_keys(digits.images / 0.5), digits.targets.tolist(), strict=True))
    for part in parts:
        assert [labels[key] for key in _keys(part.images)] == part.targets.tolist()


def test_the_split_is_its_seeds_doing(tiny_recipe: Recipe, tiny_task: Task) -> None:
    same, other = build_task(tiny_recipe), build_task(_with(tiny_recipe, "data", split_seed=1))
    assert torch.equal(same.probe.images, tiny_task.probe.images)
    assert not torch.equal(other.probe.images, tiny_task.probe.images)


def test_the_same_recipe_gives_the_same_teacher_and_another_seed_another(tiny_recipe: Recipe, tiny_task: Task) -> None:
    images = tiny_task.validation.images
    assert torch.equal(build_task(tiny_recipe).teacher(images), tiny_task.teacher(images))
    other = build_task(_with(tiny_recipe, "teacher", seed=1))
    assert not torch.allclose(other.teacher(images), tiny_task.teacher(images), atol=1e-2)


def test_the_teacher_learns_and_reports_every_update(tiny_recipe: Recipe) -> None:
    reports: list[int] = []
    task = build_task(_with(tiny_recipe, "teacher", epochs=30), advance=lambda: reports.append(1))
    assert len(reports) == 30 * (64 // 32)
    logits = task.teacher(task.probe.images)
    assert (logits.argmax(1) == task.probe.targets).double().mean() > 0.5
    assert not logits.requires_grad
    assert not any(parameter.requires_grad for parameter in task.teacher.parameters())


def test_an_ensemble_answers_with_the_mean_logits_of_its_members() -> None:
    members = [MLP((4, 3), torch.Generator().manual_seed(seed)) for seed in range(3)]
    images = torch.randn(5, 4)
    expected = sum(member(images) for member in members) / 3
    ensemble = Ensemble(members)
    torch.testing.assert_close(ensemble(images), expected.detach())
    assert not ensemble.training


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_label_noise_replaces_its_share_of_training_labels(tiny_recipe: Recipe, share: float) -> None:
    recipe = _with(_with(tiny_recipe, "data", train=1200, label_noise=share), "teacher", epochs=1)
    noisy, clean = build_task(recipe), build_task(_with(recipe, "data", label_noise=0.0))
    assert torch.equal(noisy.probe.images, clean.probe.images)
    for part in ("validation", "test"):
        assert torch.equal(getattr(noisy, part).targets, getattr(clean, part).targets)
    changed = float((noisy.probe.targets != clean.probe.targets).double().mean())
    # A tenth of the random labels is right by chance; four standard deviations around the rest.
    assert changed == pytest.approx(0.9 * share, abs=4 * (0.25 / 1200) ** 0.5)
    if share == 1.0:
        counts = noisy.probe.targets.bincount(minlength=10)
        assert int(counts.min()) > 70
    if share == 0.0:
        assert changed == 0.0


def test_steps_leave_out_the_incomplete_batch(tiny_task: Task) -> None:
    optimization = dataclasses.replace(tiny_task.optimization, epochs=3, batch_size=10)
    assert dataclasses.replace(tiny_task, optimization=optimization).steps == 3 * 6


def test_the_test_images_are_never_looked_at(tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """With test images of NaN everything is as before: teacher, students, scores on validation images."""
    poisoned = []

    def poison(*arguments: Any, **options: Any) -> Source:
        source = load_source(*arguments, **options)
        assert isinstance(source.images, Dataset)
        images = source.images.images.clone()
        images[part_rows(tiny_recipe, len(images), with_test=True)["test"]] = torch.nan
        poisoned.append(True)
        return source._replace(images=dataclasses.replace(source.images, images=images))

    clean = _course(build_task(tiny_recipe))
    monkeypatch.setattr(module, "load_source", poison)
    task = build_task(tiny_recipe)
    assert poisoned
    assert bool(task.test.images.isnan().all())
    for a, b in zip(clean, _course(task), strict=True):
        assert torch.equal(a, b)


def _course(task: Task) -> list[Tensor]:
    run = DistillationRun(task, [0, 1])
    while not run.finished:
        run.update(Temperatures.shared(torch.full((16,), 4.0)))
    return [task.teacher(task.validation.images), run.students.predict(task.validation.images).logits]


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("data", {"train": 0}, "data.train must be >= 1, got 0"),
        ("data", {"validation": -1}, "data.validation must be >= 1, got -1"),
        ("data", {"train": 1797}, "sizes must be >= 1 each and fit into 1797 instances"),
        ("data", {"junk": -0.5}, r"data.junk must lie in \[0, 1\], got -0.5"),
        ("data", {"pool": "half"}, "data.pool must be one of all, arena, agents, got 'half'"),
        ("data", {"pool": "agents", "train": 400}, "data.pool 'agents': sizes must be >= 1 each and fit into 449"),
        ("data", {"label_noise": 1.5}, r"data.label_noise must lie in \[0, 1\], got 1.5"),
        ("data", {"shift": -1}, r"data.shift must lie in \[0, 4096\], got -1"),
        ("data", {"noise": -0.1}, "data.noise must be >= 0, got -0.1"),
        ("data", {"split_seed": -1}, "seed must be >= 0, got -1"),
        ("data", {"workers": -1}, "data.workers must be >= 0, got -1"),
        ("policy", {"scale": 0.0}, r"policy.scale must be null or lie in \[0.001, 1e\+06\], got 0"),
        ("agent", {"reward_every": 0}, "agent.reward_every must be >= 1, got 0"),
        (
            "agent",
            {"credit": "influence", "reward_every": 2},
            "agent.reward_every must be 1 for .*'influence', got 2",
        ),
        ("optimization", {"epochs": 0}, "optimization.epochs must be >= 1, got 0"),
        ("optimization", {"batch_size": 65}, "optimization.batch_size must be at most data.train = 64, got 65"),
        ("optimization", {"lr": 0.0}, "optimization.lr must be > 0, got 0"),
        ("teacher", {"members": 0}, "teacher.members must be >= 1, got 0"),
        ("teacher", {"without": 1.0}, r"teacher.without must lie in \[0, 1\), got 1"),
        ("teacher", {"without": 0.04}, "teacher.without must be 0, or leave out at least 1 .*, got 0.04, which is 0"),
        ("teacher", {"without": 0.9}, "teacher.without must be 0, or .* leave at least 2 of 10 classes, got 0.9"),
        ("teacher", {"seed": -1}, "seed must be >= 0"),
        ("student", {"name": "transformer"}, "name must be one of"),
        ("student", {"options": {"width": 3}}, "options of 'mlp'"),
    ],
)
def test_what_cannot_be_built_is_refused(tiny_recipe: Recipe, part: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        build_task(_with(tiny_recipe, part, **values))
    assert "\n" not in str(refusal.value)


def test_the_learning_rate_falls_at_the_milestones(tiny_task: Task) -> None:
    settings = dataclasses.replace(tiny_task.optimization, lr=1.0, schedule="multistep", milestones=(0.5, 0.75))
    progress = [0.0, 0.49, 0.5, 0.74, 0.75, 0.99]
    assert [learning_rate(settings, p) for p in progress] == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01, 0.01])
    cosine = dataclasses.replace(settings, schedule="cosine")
    assert [learning_rate(cosine, p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
