"""What each condition changes of the suite's recipes, and what it leaves as it is."""

import dataclasses
from typing import Any

import pytest
import torch

from rltemp.errors import InputError
from rltemp.experiments.arena.conditions import CONDITIONS, lengthen, under_condition
from rltemp.experiments.arena.selection import TASKS
from rltemp.recipes import Recipe, change_recipe, load_recipe
from rltemp.recipes.consistency import check_consistency
from rltemp.tasks import build_task
from rltemp.tasks.build import check_recipe
from rltemp.tasks.parts import part_rows

CHANGED: dict[str, dict[str, Any]] = {
    "clean": {},
    "noise15": {"data.label_noise": 0.15},
    "noise30": {"data.label_noise": 0.3},
    "noise60": {"data.label_noise": 0.6},
    "weak-teacher": {"teacher.train": None, "teacher.epochs": 1},
    "missing-classes": {"teacher.without": 0.3},
    "junk": {"data.junk": 0.5},
    "dkd": {"optimization.objective": "dkd"},
    **{name: {"optimization.features": name} for name in ("pkt", "sp", "vid", "crd", "srrl")},
}
"""What `few` and `small` change depends on the recipe."""


def updates(recipe: Recipe) -> int:
    return recipe.optimization.epochs * (recipe.data.train // recipe.optimization.batch_size)


def values(recipe: Recipe) -> dict[str, Any]:
    """Every value by its dotted name."""
    sections = dataclasses.asdict(recipe)
    return {f"{section}.{name}": value for section, fields in sections.items() for name, value in fields.items()}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("task", TASKS)
def test_a_condition_changes_what_it_says_and_nothing_else(task: str, condition: str) -> None:
    recipe = load_recipe(TASKS[task])
    text = recipe.data.context is not None
    if condition == ("missing-classes" if text else "other-corpus"):
        return  # one is of texts alone, the other of all others
    changed = under_condition(recipe, condition)
    check_consistency(changed)
    if recipe.data.path is None and changed.teacher.path is None:
        check_recipe(changed)
    before, after = values(recipe), values(changed)
    different = {name: after[name] for name in after if after[name] != before[name]}
    if condition == "small":
        assert list(different) == ["student.options"]
    elif condition == "other-corpus":
        assert set(different) <= {"teacher.source", "teacher.path"}
    elif condition == "few":
        assert set(different) <= {"data.train", "teacher.train", "optimization.epochs"}
        assert changed.data.train == recipe.data.train // 8
        assert updates(changed) == pytest.approx(updates(recipe), rel=0.05)
    else:
        assert {**before, **CHANGED[condition]} == after
    assert condition == "few" or updates(changed) == updates(recipe)


@pytest.mark.parametrize("task", TASKS)
def test_few_images_are_the_first_of_all_and_cost_the_teacher_none(task: str) -> None:
    recipe = load_recipe(TASKS[task])
    whole, few = (part_rows(each, 120_000, with_test=True) for each in (recipe, under_condition(recipe, "few")))
    for part in ("teacher", "validation", "test"):
        assert few[part].tolist() == whole[part].tolist()
    assert few["train"].tolist() == whole["train"][: len(whole["train"]) // 8].tolist()


def test_few_images_fill_a_batch_at_least() -> None:
    recipe = change_recipe(load_recipe("arena-digits"), {"data.train": 200, "optimization.epochs": 3})
    few = under_condition(recipe, "few")
    # 18 updates: 3 epochs of 6 batches before, 18 of one now.
    assert (few.data.train, few.teacher.train, few.optimization.epochs) == (32, 200, 18)


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("digits", {"hidden": [6]}),
        ("mnist1d", {"hidden": [12]}),
        ("fashion", {"hidden": [6]}),
        ("spoken-digits", {"hidden": [6]}),
        ("news", {"width": 3, "buckets": 192}),
        ("cifar100-16", {"channels": [6, 12, 12, 24]}),
        ("shakespeare", {"width": 12, "layers": 2, "heads": 2}),
    ],
)
def test_a_small_student_has_three_eighths_of_the_widths(task: str, options: dict[str, Any]) -> None:
    assert under_condition(load_recipe(TASKS[task]), "small").student.options == options


def test_a_small_student_has_fewer_weights() -> None:
    recipe = change_recipe(load_recipe("arena-digits"), {"teacher.members": 1, "teacher.epochs": 0})
    sizes = [
        sum(weight.numel() for weight in build_task(each).make_student(torch.Generator()).parameters())
        for each in (recipe, under_condition(recipe, "small"))
    ]
    assert sizes == [64 * 16 + 16 + 16 * 10 + 10, 64 * 6 + 6 + 6 * 10 + 10]


@pytest.mark.parametrize(
    ("options", "narrow"),
    [
        ({"hidden": [3, 1]}, {"hidden": [2, 2]}),
        ({"hidden": [40], "bias": True, "norm": "batch"}, {"hidden": [15], "bias": True, "norm": "batch"}),
        ({"hidden": [], "width": 8}, {"hidden": [], "width": 3}),
    ],
)
def test_what_is_no_width_stays(options: dict[str, Any], narrow: dict[str, Any]) -> None:
    recipe = change_recipe(Recipe(), {"student": {"name": "mlp", "options": options}})
    assert under_condition(recipe, "small").student.options == narrow


@pytest.mark.parametrize("options", [{}, {"hidden": []}, {"hidden": ["16"]}, {"bias": True}])
def test_a_student_without_widths_cannot_be_small(options: dict[str, Any]) -> None:
    recipe = dataclasses.replace(Recipe(), student=dataclasses.replace(Recipe().student, options=options))
    with pytest.raises(InputError, match=r"student\.options must have widths"):
        under_condition(recipe, "small")


def test_an_unknown_condition_is_named() -> None:
    with pytest.raises(InputError, match=r"--conditions must be of clean, .*, srrl, got 'dirty'"):
        under_condition(Recipe(), "dirty")


@pytest.mark.parametrize(("budget", "epochs"), [(1, 5), (3, 15), (10, 50), (0.5, 2), (0.01, 1)])
def test_a_run_is_lengthened_to_whole_epochs(budget: float, epochs: int) -> None:
    recipe = load_recipe("arena-digits")
    longer = lengthen(recipe, budget)
    assert longer.optimization.epochs == epochs
    assert change_recipe(longer, {"optimization.epochs": 5}) == recipe
