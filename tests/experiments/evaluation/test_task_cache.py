"""A task is built once for all recipes that share it, and gives what it would if it were built anew."""

import dataclasses
from typing import Any

import pytest
import torch

from rltemp.distillation import Task
from rltemp.distillation.teacher import Teacher
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.experiments.tuning.validate import validate
from rltemp.recipes import Recipe, change_recipe
from rltemp.tasks import build_task

SEEDS = (3, 8)
STATIC = parse_policy("static(temperature=2)")


class Built:
    """Builds tasks, and remembers for which recipes."""

    def __init__(self, task: Task) -> None:
        self.recipes: list[Recipe] = []
        self._task = task

    def __call__(self, recipe: Recipe) -> Task:
        self.recipes.append(recipe)
        return dataclasses.replace(self._task, optimization=recipe.optimization)


@pytest.fixture
def built(tiny_task: Task) -> Built:
    return Built(tiny_task)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """A recipe of another task."""
    return change_recipe(recipe, {"data.split_seed": seed})


def test_what_is_asked_of_students_builds_nothing_anew(tiny_recipe: Recipe, built: Built) -> None:
    cache, first = TaskCache(built), TaskCache(built).task(tiny_recipe)
    built.recipes.clear()
    for changes in (
        {},
        {"optimization.lr": 0.3},
        {"optimization.epochs": 4, "optimization.batch_size": 16},
        {"policy.probe_size": 8},
        {"agent.seed": 3},
        {"references.policies": ["dtkd"]},
    ):
        recipe = change_recipe(tiny_recipe, changes)
        task = cache.task(recipe)
        assert task.optimization == recipe.optimization
        assert (task.training, task.teacher, task.test) == (first.training, first.teacher, first.test)
        assert cache.task(recipe) is task
    assert built.recipes == [tiny_recipe]


@pytest.mark.parametrize(
    "changes",
    [
        {"data.noise": 0.1},
        {"teacher.seed": 1},
        {"teacher.network.options": {"hidden": [9]}},
        {"student.options": {"hidden": [9]}},
        {"execution.precision": "bfloat16"},
    ],
)
def test_whatever_decides_a_task_builds_another(tiny_recipe: Recipe, built: Built, changes: dict[str, Any]) -> None:
    cache, other = TaskCache(built), change_recipe(tiny_recipe, changes)
    assert cache.task(tiny_recipe) is not cache.task(other)
    assert built.recipes == [tiny_recipe, other]


def test_what_was_asked_for_longest_ago_is_forgotten(tiny_recipe: Recipe, built: Built) -> None:
    cache = TaskCache(built, kept=2)
    a, b, c = (seeded(tiny_recipe, seed) for seed in range(3))
    for recipe in (a, b, a, c, a):
        cache.task(recipe)
    assert built.recipes == [a, b, c]
    cache.task(b)
    assert built.recipes == [a, b, c, b]
    # Many trainings of one task are forgotten, and the task is not.
    for step in range(1, 6):
        cache.task(change_recipe(b, {"optimization.lr": 0.01 * step}))
    assert built.recipes == [a, b, c, b]


@pytest.fixture
def asked(tiny_task: Task, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the teacher is asked about, each time it is."""
    images: list[int] = []
    forward = Teacher.forward

    def listen(self: Teacher, batch: torch.Tensor) -> torch.Tensor:
        images.append(len(batch))
        return forward(self, batch)

    assert tiny_task.teacher.bank is None
    monkeypatch.setattr(Teacher, "forward", listen)
    return images


def test_the_teacher_is_asked_once_about_what_the_same_students_see(
    tiny_recipe: Recipe, built: Built, asked: list[int]
) -> None:
    images, cache = asked, TaskCache(built)
    for text in ("static(temperature=2)", "dtkd", "dtkd"):
        validate(cache, tiny_recipe, parse_policy(text), SEEDS)
    validate(cache, change_recipe(tiny_recipe, {"optimization.lr": 0.3}), STATIC, SEEDS)
    assert images == [8 * len(SEEDS)] * 8  # one epoch of 64 images in batches of 8
    for other, seeds in (
        (tiny_recipe, (3, 9)),
        (change_recipe(tiny_recipe, {"optimization.batch_size": 16}), SEEDS),
        (seeded(tiny_recipe, 1), SEEDS),
    ):
        validate(cache, tiny_recipe, STATIC, SEEDS)
        images.clear()
        validate(cache, other, STATIC, seeds)
        assert sum(images) == 64 * len(SEEDS)


def test_a_longer_run_asks_about_what_is_new_in_it(tiny_recipe: Recipe, built: Built, asked: list[int]) -> None:
    images, cache = asked, TaskCache(built)
    validate(cache, tiny_recipe, STATIC, SEEDS)
    validate(cache, change_recipe(tiny_recipe, {"optimization.epochs": 3}), STATIC, SEEDS)
    assert sum(images) == 3 * 64 * len(SEEDS)


def test_what_is_kept_changes_no_result(tiny_recipe: Recipe) -> None:
    shared = TaskCache(build_task)
    recipes = [
        change_recipe(tiny_recipe, changes)
        for changes in (
            {},
            {"optimization.lr": 0.3},
            {"optimization.epochs": 2},
            {"data.shift": 0, "data.noise": 0.0, "teacher.shift": 1, "teacher.noise": 0.3},
            {"optimization.batch_size": 16},
            {"data.split_seed": 1},
            {},
        )
    ]
    for seeds in (SEEDS, (8, 3)):
        for recipe in recipes:
            got = validate(shared, recipe, STATIC, seeds)
            assert got == validate(TaskCache(build_task), recipe, STATIC, seeds)
