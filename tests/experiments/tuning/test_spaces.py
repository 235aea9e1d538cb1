"""What is searched can be asked for: as policies of a command line, and as changes of every recipe."""

import ast
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.tuning.spaces import PROBE, RULES, SCHEDULE, STATIC, Space, find_space
from rltemp.policies import list_policies
from rltemp.recipes import Recipe, change_recipe, list_recipes, load_recipe
from rltemp.recipes.consistency import check_consistency
from rltemp.tasks import build_task
from rltemp.tasks import teachers as module

SPACES = [STATIC, SCHEDULE, PROBE, *RULES, find_space("recipe", load_recipe("digits-short"))]
LOGITS = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))

by_name = pytest.mark.parametrize("space", SPACES, ids=[space.name for space in SPACES])


def draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.integers(len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution)
    assert distribution.log
    return math.exp(rng.uniform(math.log(distribution.low), math.log(distribution.high)))


def samples(space: Space, count: int = 200) -> list[Mapping[str, Any]]:
    rng = np.random.default_rng(0)
    drawn = [{name: draw(kind, rng) for name, kind in space.distributions.items()} for _ in range(count)]
    return [*space.starts, *drawn]


def options(text: str) -> dict[str, Any]:
    """Of a policy's text, read by Python's own grammar."""
    call = ast.parse(text.partition("(")[0].replace("-", "_") + "(" + text.partition("(")[2], mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


@by_name
def test_every_start_lies_within_what_is_searched(space: Space) -> None:
    assert space.starts
    for start in space.starts:
        values = {name: start[name] for name in space.distributions}
        trial = optuna.trial.create_trial(params=values, distributions=dict(space.distributions), value=0.5)
        assert trial.params == values


def meant(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that values stand for: a strength is what bounds the gradient by a logit, scale / T at the start."""
    options = {**values, "ce_weight": values.get("labels")}
    if "strength" not in values:
        return options
    first = values["temperature"] if "temperature" in values else values["start"]
    # The usual weight is 0.9; with T^2, the bound is weight * T^2 / T.
    return {**options, "scale": values["strength"] * first, "kd_weight": 0.9 * values["strength"] / first}


@by_name
def test_every_setting_is_a_policy_with_its_values_to_three_digits(space: Space) -> None:
    for values in samples(space):
        text = space.policy(values)
        spec, given, wanted = parse_policy(text), options(text), meant(values)
        assert given
        for name, value in given.items() if space.name != "recipe" else ():
            assert value == (pytest.approx(wanted[name], rel=5.001e-3) if not isinstance(value, bool) else wanted[name])
        temperatures = spec.make(0)(LOGITS, -LOGITS, torch.arange(4), 0.5)
        assert torch.isfinite(temperatures.student).all()
        assert spec.weights == {name: given[name] for name in ("kd_weight", "ce_weight") if name in given}


@by_name
def test_all_that_is_searched_is_used(space: Space) -> None:
    """Another value of anything, everything else being equal, is another policy or another recipe, at some place."""
    rng = np.random.default_rng(1)
    for name, distribution in space.distributions.items():
        changed = 0
        for values in samples(space, 30):
            other = {**values, name: draw(distribution, rng)}
            same = space.policy(values) == space.policy(other) and space.changes(values) == space.changes(other)
            changed += not same
        assert changed, name


def test_the_ranges_reach_cold_temperatures_and_constant_scales() -> None:
    for space, name in ((STATIC, "temperature"), (SCHEDULE, "start"), (SCHEDULE, "end"), (PROBE, "temperature")):
        distribution = space.distributions[name]
        assert isinstance(distribution, FloatDistribution)
        assert (distribution.low, distribution.high) == (0.125, 32.0)
    assert "scale" in options(STATIC.policy(STATIC.starts[0]))
    schedules = [options(SCHEDULE.policy(start)) for start in SCHEDULE.starts]
    assert {("scale" in given, "kd_weight" in given) for given in schedules} == {(True, False), (False, True)}
    values = {"start": 8.0, "end": 2.0, "squared": True, "strength": 4.0, "labels": 0.2}
    assert SCHEDULE.policy(values) == "anneal(start=8, end=2, kd_weight=0.45, ce_weight=0.2)"
    assert SCHEDULE.policy({**values, "squared": False}) == "anneal(start=8, end=2, scale=32, ce_weight=0.2)"


def test_the_recipe_is_tuned_at_the_temperature_of_the_field() -> None:
    for values in samples(SPACES[-1]):
        assert SPACES[-1].policy(values) == "static(temperature=4)"


def test_a_static_temperature_begins_with_the_squared_scale_and_with_constants() -> None:
    squared = [start["strength"] == start["temperature"] for start in STATIC.starts]
    assert any(squared)
    assert not all(squared)


def test_rules_begin_as_they_were_published() -> None:
    for space in RULES:
        assert space.name in list_policies()
    firsts = {space.name: options(space.policy(space.starts[0])) for space in RULES}
    assert firsts["dtkd"] == {"temperature": 4.0, "kd_weight": 3.0}
    assert firsts["lskd"] == {"temperature": 2.0, "kd_weight": 9.0}
    assert firsts["ttm"] == {"temperature": 10.0, "kd_weight": 45.0}
    assert firsts["wttm"] == {"temperature": 5.0, "kd_weight": 4.0}
    assert firsts["ctkd"] == {"ramp": 0.0417, "kd_weight": 0.9}
    # A published weight comes from other losses, so that the recipe's own is tried as well.
    for space in RULES[3:]:
        assert {start["kd_weight"] for start in space.starts} >= {0.9}


def test_recipe_and_references_are_tried_with_little_and_with_much_weight_of_the_labels() -> None:
    for space in (STATIC, SCHEDULE, PROBE, SPACES[-1]):
        assert {start["labels"] for start in space.starts} == {0.1, 1.0}, space.name


@pytest.mark.parametrize("name", list_recipes())
def test_of_every_recipe_each_setting_is_a_recipe(name: str) -> None:
    recipe = load_recipe(name)
    space, rate = find_space("recipe", recipe), recipe.optimization.lr
    for values in samples(space, 20):
        changed = change_recipe(recipe, space.changes(values))
        check_consistency(changed)
        assert changed.optimization.lr == pytest.approx(values["lr"], rel=5.001e-3)
        assert rate / 5 * 0.995 <= changed.optimization.lr <= rate * 10 * 1.005
        assert changed.optimization.ce_weight == values["labels"]
        assert dataclasses.replace(changed, optimization=recipe.optimization) == recipe or not values["augmented"]


def augmentation(recipe: Recipe) -> tuple[int, float, bool]:
    return recipe.data.shift, recipe.data.noise, recipe.data.flip


def test_there_is_a_choice_of_augmentation_where_there_is_augmentation() -> None:
    for name in list_recipes():
        recipe = load_recipe(name)
        space = find_space("recipe", recipe)
        found = {augmentation(change_recipe(recipe, space.changes(values))) for values in samples(space, 20)}
        without = (0, 0.0, False)
        assert found == {augmentation(recipe), without}
        assert ("augmented" in space.distributions) == (augmentation(recipe) != without)


@pytest.mark.parametrize("own", [{}, {"teacher.shift": 2}, {"teacher.noise": 0.1, "teacher.flip": True}])
def test_without_augmentation_the_teacher_is_the_same_and_trained_once(
    tiny_recipe: Recipe, own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = change_recipe(tiny_recipe, {"teacher.members": 2, **own})
    space = find_space("recipe", recipe)
    (plain,) = {
        repr(changed.data): changed
        for start in space.starts
        if augmentation(changed := change_recipe(recipe, space.changes(start))) != augmentation(recipe)
    }.values()
    alone = build_task(plain).teacher
    first = build_task(recipe, cache=tmp_path).teacher
    monkeypatch.setattr(module, "_train", None)  # the kept teacher is found
    second = build_task(plain, cache=tmp_path)
    assert not second.augmentation.transforms or not any(t.random for t in second.augmentation.transforms)
    for teacher in (alone, second.teacher):
        for ours, theirs in zip(first.parameters(), teacher.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_the_starts_of_a_recipe_have_its_own_rate_and_others_on_both_sides(tiny_recipe: Recipe) -> None:
    space = find_space("recipe", tiny_recipe)
    rates = sorted({space.changes(start)["optimization.lr"] for start in space.starts})
    assert rates == pytest.approx([factor * tiny_recipe.optimization.lr for factor in (0.3, 1, 3)])
