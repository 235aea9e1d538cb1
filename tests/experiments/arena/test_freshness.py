"""By index: no image that an agent may train on is one that the arena judges on, unless the cards say so."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from rltemp.agents import train_policy
from rltemp.data import Dataset
from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.experiments.arena.conditions import CONDITIONS, under_condition
from rltemp.experiments.arena.freshness import (
    cut_alike,
    runs_spent_on,
    shared_images,
    training_recipes,
    training_runs,
)
from rltemp.experiments.arena.selection import TASKS
from rltemp.features import LogitFeatures
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.pretrained import list_pretrained
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.recipes.schema import Agent
from rltemp.tasks.parts import part_rows
from rltemp.tasks.sources import load_source

SOURCES = {
    "digits": (1797, False),
    "mnist1d": (4000, True),
    "fashion": (60_000, True),
    "spoken-digits": (2000, True),
    "news": (120_000, True),
    "cifar100-16": (50_000, True),
    "shakespeare": (4344, True),
    "news-text": (60_000, True),
}
"""How many images each has, and whether it has test images of its own."""


def rows(recipe: Recipe, total: int, own_test: bool) -> dict[str, set[int]]:
    return {name: set(part.tolist()) for name, part in part_rows(recipe, total, with_test=not own_test).items()}


def policy(**card: Any) -> LearnedPolicy:
    return LearnedPolicy(LogitFeatures(("progress",)), (4,), card=card)


@pytest.mark.parametrize("task", ["digits", "mnist1d", "shakespeare"])
def test_the_sources_are_as_large_as_stated(task: str) -> None:
    source = load_source(load_recipe(TASKS[task]).data)
    assert isinstance(source.images, Dataset)
    assert (len(source.images), source.test is not None) == SOURCES[task]


@pytest.mark.parametrize("task", TASKS)
def test_the_arena_and_agents_share_no_image_of_any_task(task: str) -> None:
    total, own_test = SOURCES[task]
    recipe = load_recipe(TASKS[task])
    judged: set[int] = set()
    for condition in CONDITIONS:
        if condition == "other-corpus":
            continue  # the teacher's text alone is another
        parts = rows(under_condition(recipe, condition), total, own_test)
        assert parts["train"] <= parts["teacher"]
        apart = [images for name, images in parts.items() if name != "train"]
        assert len(apart) == (2 if own_test else 3)
        assert all(a.isdisjoint(b) for a, b in itertools.combinations(apart, 2))
        judged.update(*apart)
    left = total - (0 if own_test else total // 4)
    # As many as there are in the pool of the agents, split in many ways.
    sizes = {"data.pool": "agents", "data.train": left // 3 - 50, "data.validation": 50, "teacher.train": None}
    for seed in range(5):
        agents = rows(change_recipe(recipe, {**sizes, "data.split_seed": seed}), total, own_test)
        assert judged.isdisjoint(agents["train"] | agents["validation"])
        other = rows(change_recipe(recipe, {"data.split_seed": seed}), total, own_test)
        assert all(images.isdisjoint(agents["train"] | agents["validation"]) for images in other.values())


def test_a_text_in_other_windows_cannot_be_compared() -> None:
    judged = load_recipe("arena-shakespeare")
    source = {"images": 4344, "own_test": True}
    assert cut_alike(load_recipe("shakespeare-agents"), judged)
    assert shared_images(load_recipe("shakespeare-agents"), judged, source) == 0
    assert shared_images(change_recipe(judged, {"data.split_seed": 1}), judged, source) > 0
    for change in ({"data.context": 16}, {"data.path": "whole.txt"}):
        assert not cut_alike(change_recipe(judged, change), judged)
    assert cut_alike(load_recipe("arena-digits"), judged)
    one, other = (change_recipe(judged, {"data.name": "text", "data.path": path}) for path in ("a.txt", "b.txt"))
    assert cut_alike(one, other)
    assert shared_images(one, other, source) == 0
    # A card has the name of the folder alone.
    news = load_recipe("arena-news-text")
    assert cut_alike(change_recipe(news, {"data.path": "news", "data.pool": "agents"}), news)


@pytest.mark.parametrize("own_test", [True, False])
@pytest.mark.parametrize("pool", ["all", "agents", "arena"])
@pytest.mark.parametrize("more", [None, 60])
def test_shared_images_are_counted_as_one_by_one(own_test: bool, pool: str, more: int | None) -> None:
    total = 400
    small = {"data.validation": 20, "data.train": 30}
    judged = change_recipe(Recipe(), {**small, "data.pool": "arena", "teacher.train": 45})
    trained = change_recipe(Recipe(), {**small, "data.pool": pool, "data.split_seed": 3, "teacher.train": more})
    seen, used = (part_rows(recipe, total, with_test=not own_test) for recipe in (trained, judged))
    expected = 0
    for row in range(total):
        is_seen = any(row in seen[part].tolist() for part in ("train", "teacher", "validation"))
        expected += is_seen and any(row in part.tolist() for part in used.values())
    assert (expected > 0) == (pool != "agents")
    assert shared_images(trained, judged, {"images": total, "own_test": own_test}) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"name": "digits"}, {"name": "mnist1d"}, False),
        ({"name": "folder", "path": "a/birds"}, {"name": "folder", "path": "b/birds/"}, True),
        ({"name": "folder", "path": "birds"}, {"name": "folder", "path": "cats"}, False),
        ({"name": "fashion", "path": "a"}, {"name": "fashion", "path": "b"}, True),
        ({"name": "my.module:Data"}, {"name": "my.module:Data", "path": "x"}, True),
    ],
)
def test_other_sources_share_nothing(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    a, b = (change_recipe(Recipe(), {f"data.{name}": value for name, value in d.items()}) for d in (one, other))
    assert bool(shared_images(a, b, {"images": 1500, "own_test": True})) == same


def test_a_card_of_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match="instances"):
        shared_images(change_recipe(Recipe(), {"data.train": 5000}), Recipe(), {"images": 1500, "own_test": True})


@pytest.mark.parametrize(
    ("name", "tasks", "source", "runs"),
    [
        ("rltemp/cifar100-schedule", 1, "cifar100", 16 * 8),
        ("rltemp/digits", 4, "digits", 24 * 16),
        ("rltemp/digits-logits", 4, "digits", 48 * 16),
        ("rltemp/digits-softness", 4, "digits", 24 * 16),
    ],
)
def test_the_policies_that_come_with_the_package_say_what_they_saw(
    name: str, tasks: int, source: str, runs: int
) -> None:
    learned = load_policy(name)
    recipes = training_recipes(learned)
    assert recipes is not None
    assert [recipe.data.name for recipe in recipes] == [source] * tasks
    assert len({recipe.data.split_seed for recipe in recipes}) == tasks
    assert training_runs(learned) == runs
    # They are older than the pools, so that the arena cannot judge them on their own tasks.
    task = "digits" if source == "digits" else "cifar100-16"
    total, own_test = SOURCES[task]
    judged = load_recipe(TASKS[task])
    assert all(shared_images(recipe, judged, {"images": total, "own_test": own_test}) for recipe in recipes)


@pytest.mark.parametrize(
    ("name", "sources", "runs"),
    [
        ("rltemp/general", {"digits", "mnist1d", "topics", "digit-pairs"}, 1770 * 64),
        ("rltemp/general-kd", {"digits", "mnist1d"}, 1460 * 32),
    ],
)
def test_a_general_policy_saw_small_data_sets_and_took_no_run_on_any_other(
    name: str, sources: set[str], runs: int
) -> None:
    learned = load_policy(name)
    recipes = training_recipes(learned)
    assert recipes is not None
    assert {recipe.data.name for recipe in recipes} == sources
    assert training_runs(learned) == runs_spent_on(learned, load_recipe("arena-digits")) == runs
    assert runs_spent_on(learned, load_recipe("arena-fashion")) == 0


def test_every_policy_that_comes_with_the_package_was_looked_at() -> None:
    assert len(list_pretrained()) == 6


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"training": {}},
        {"training": []},
        {"recipe": "digits-varied"},
        {"recipe": "digits-varied", "training": "PPO"},
        {"recipe": "no-such-recipe", "training": {}},
        {"recipe": "digits-varied", "training": {"agent.variations": [{"data.nothing": 1}]}},
        {"recipe": "digits-varied", "training": {"agent.start": "elsewhere"}},
        {"trained_on": {}},
        {"trained_on": None},
        {"trained_on": {"task 0": None}},
        {"trained_on": {"task 0": {"data.train": "many"}}},
        {"trained_on": {"task 0": {"data.train": 0}}},
    ],
)
def test_a_card_that_does_not_say_is_told_from_one_that_says_nothing_was_seen(card: dict[str, Any]) -> None:
    assert training_recipes(policy(**card)) is None


@pytest.mark.parametrize(
    "training",
    [{}, {"rollouts": 3}, {"rollouts": None, "agent.students": 2}, {"rollouts": "x", "agent.students": 2}, 3],
)
def test_a_card_may_not_say_how_long_it_took(training: Any) -> None:
    assert training_runs(policy(training=training)) is None
    assert training_runs(policy()) is None


def test_runs_on_other_data_are_no_search_of_the_task() -> None:
    training = {"rollouts": 5, "agent.students": 4}
    digits, fashion = load_recipe("arena-digits"), load_recipe("arena-fashion")
    learned = policy(training=training, trained_on={"task 0": {"data.name": "digits"}, "task 1": {"data.name": "news"}})
    assert runs_spent_on(learned, digits) == 20
    assert runs_spent_on(learned, fashion) == 0
    assert runs_spent_on(policy(training=training), digits) == 0


@pytest.fixture(scope="module")
def tiny(tiny_recipe: Recipe) -> Recipe:
    agent = Agent(students=2, rollouts=1, hidden=(4,), n_epochs=1, minibatches=1)
    recipe = dataclasses.replace(tiny_recipe, agent=agent)
    return change_recipe(recipe, {"data.pool": "agents", "data.split_seed": 5, "data.path": "a/b", "teacher.train": 70})


def test_a_policy_of_today_says_what_it_saw(tiny: Recipe, tiny_task: Task, tmp_path: Path) -> None:
    varied = change_recipe(tiny, {"agent.variations": [{"data.split_seed": 9, "teacher.seed": 1}]})
    learned = train_policy(varied, task=[tiny_task, tiny_task])
    learned = load_policy(save_policy(learned, tmp_path / "policy"))
    assert learned.card["trained_on"]["task 0"]["data.path"] == "b"
    recipes = training_recipes(learned)
    assert recipes is not None
    assert [recipe.data.split_seed for recipe in recipes] == [5, 9]
    for recipe, seed in zip(recipes, (5, 9), strict=True):
        true = part_rows(change_recipe(tiny, {"data.split_seed": seed}), 1797, with_test=True)
        said = part_rows(recipe, 1797, with_test=True)
        assert all(torch.equal(true[part], said[part]) for part in true)
    assert training_runs(learned) == 2


def test_what_a_training_started_from_is_said_as_well(tiny: Recipe, tiny_task: Task, tmp_path: Path) -> None:
    first = save_policy(train_policy(tiny, task=tiny_task), tmp_path / "first")
    further = change_recipe(tiny, {"agent.start": str(first), "data.split_seed": 6})
    recipes = training_recipes(train_policy(further, task=tiny_task))
    assert recipes is not None
    assert [recipe.data.split_seed for recipe in recipes] == [6, 5]
    silent = load_policy(first)
    silent.card = {"recipe": "digits"}
    second = save_policy(silent, tmp_path / "second")
    learned = train_policy(change_recipe(further, {"agent.start": str(second)}), task=tiny_task)
    learned.card = {"recipe": "digits", **learned.card}
    assert training_recipes(learned) is None
