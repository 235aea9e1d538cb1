"""Values that contradict each other are refused without a look at a file or a network."""

import dataclasses
from typing import Any

import pytest

from rltemp.errors import InputError
from rltemp.recipes import Recipe, list_recipes, load_recipe, vary
from rltemp.recipes.consistency import check_consistency, check_settings
from rltemp.recipes.schema import Credit


@pytest.mark.parametrize("name", list_recipes())
def test_recipes_of_the_package_are_consistent(name: str) -> None:
    for recipe in vary(load_recipe(name)):
        check_consistency(recipe)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("data", {"train": 31}, "optimization.batch_size must be at most data.train = 31, got 32"),
        ("teacher", {"train": 599}, "teacher.train must be at least data.train = 600, got 599"),
        (
            "teacher",
            {"checkpoint": "weights.pth"},
            "teacher.members must be 1 for a teacher out of a checkpoint",
        ),
        (
            "teacher",
            {"checkpoint": "weights.pth", "members": 1, "without": 0.25},
            "teacher.without must be 0 for a teacher out of a checkpoint, got 0.25",
        ),
        ("data", {"junk": 0.5, "in_memory": False}, "data.junk must be 0 where data.in_memory is false, got 0.5"),
        ("data", {"junk": 0.5, "train": 1}, "data.train must be at least 2 for blends"),
    ],
)
def test_data_and_teacher_must_fit(section: str, values: dict[str, Any], message: str) -> None:
    recipe = _with(section, **values)
    check_settings(recipe)  # a task of one's own may have other data
    with pytest.raises(InputError, match=f"^{message}"):
        check_consistency(recipe)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("optimization", {"momentum": 0.0}, "optimization.nesterov must be false without optimization.momentum"),
        ("optimization", {"schedule": "multistep", "milestones": ()}, "optimization.milestones must be at least one"),
        ("optimization", {"milestones": (0.5, 0.5)}, r"optimization.milestones must increase, got \[0.5, 0.5\]"),
        ("policy", {"low": 4.0, "high": 4.0}, "policy.low must be less than policy.high = 4, got 4"),
        ("policy", {"features": ("progress", "colour")}, "policy.features must be different names out of"),
        ("policy", {"features": ("progress", "progress")}, "policy.features must be different names out of"),
        (
            "policy",
            {"alignment": "none", "features": ("progress", "alignment_1")},
            "policy.features need policy.alignment, got 'none' with progress, alignment_1",
        ),
        (
            "agent",
            {"credit": "influence", "reward_every": 2},
            "agent.reward_every must be 1 for agent.credit",
        ),
        (
            "agent",
            {"learner": "descent", "credit": "uniform"},
            "agent.credit must be 'hindsight' for agent.learner 'descent', got 'uniform'",
        ),
        (
            "agent",
            {"learner": "evolution", "credit": "uniform", "students": 3},
            "agent.students must be even for agent.learner 'evolution', got 3",
        ),
        (
            "agent",
            {"baseline": "twin", "students": 3},
            "agent.students must be even for agent.baseline 'twin', got 3",
        ),
    ],
)
def test_settings_must_not_contradict_each_other(section: str, values: dict[str, Any], message: str) -> None:
    for check in (check_settings, check_consistency):
        with pytest.raises(InputError, match=f"^{message}"):
            check(_with(section, **values))


@pytest.mark.parametrize(
    ("credit", "ce_weight", "message"),
    [
        ("influence", 1.0, "agent.credit must not be 'influence' with policy.label_range"),
        ("uniform", 0.0, "optimization.ce_weight must be > 0 with policy.label_range, got 0"),
    ],
)
def test_labels_are_weighed_where_they_count_and_are_credited(credit: Credit, ce_weight: float, message: str) -> None:
    whole = _with("policy", label_range=(0.5, 2.0))
    recipe = dataclasses.replace(
        whole,
        agent=dataclasses.replace(whole.agent, credit=credit),
        optimization=dataclasses.replace(whole.optimization, ce_weight=ce_weight),
    )
    for check in (check_settings, check_consistency):
        with pytest.raises(InputError, match=f"^{message}"):
            check(recipe)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("optimization", {"momentum": 0.0, "nesterov": False}),
        ("optimization", {"milestones": ()}),
        ("policy", {"alignment": "none", "features": ("progress",)}),
        ("agent", {"credit": "hindsight", "reward_every": 2}),
        ("teacher", {"train": 600, "checkpoint": "weights.pth", "members": 1}),
    ],
)
def test_what_only_resembles_a_contradiction_is_allowed(section: str, values: dict[str, Any]) -> None:
    check_consistency(_with(section, **values))


@pytest.mark.parametrize(
    "changes", [{"optimization.batch_size": 16}, {"data": {"train": 640}}, {"optimization.epochs": 6}]
)
def test_variations_have_the_updates_of_the_recipe(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"agent\.variations\[0\] must have the recipe's .* \(32, 90\), got"):
        load_recipe("digits-short", {"agent.variations": [changes]})
    assert len(vary(load_recipe("digits-short", {"agent.variations": [{"data.train": 601}]}))) == 2


def _with(section: str, **values: Any) -> Recipe:
    recipe = load_recipe("digits-short")
    return dataclasses.replace(recipe, **{section: dataclasses.replace(getattr(recipe, section), **values)})
