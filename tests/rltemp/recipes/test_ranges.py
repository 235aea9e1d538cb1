"""Every number of a recipe has a range, and is held to it wherever it comes from."""

import dataclasses
import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest

from rltemp.actions import HIGHEST, LOWEST
from rltemp.distillation import Task
from rltemp.envs import DistillationVectorEnv
from rltemp.errors import InputError
from rltemp.features import LogitFeatures
from rltemp.policies.artifact import save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, load_recipe
from rltemp.recipes.consistency import check_settings
from rltemp.recipes.ranges import Range
from rltemp.tasks import build_task


class Number(NamedTuple):
    """A field of numbers: its dotted name, its range if it states one, and whether it holds many."""

    name: str
    kind: type
    range: Range | None
    many: bool


def _numbers(kind: Any = Recipe, prefix: str = "") -> Iterator[Number]:
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            yield from _numbers(hint, f"{prefix}{name}.")
        else:
            yield from _leaves(hint, prefix + name, None, False)


def _leaves(hint: Any, name: str, found: Range | None, many: bool) -> Iterator[Number]:
    if hint in (int, float):
        yield Number(name, hint, found, many)
    elif typing.get_origin(hint) is Annotated:
        inner, *extras = typing.get_args(hint)
        yield from _leaves(inner, name, next((e for e in extras if isinstance(e, Range)), None), many)
    elif typing.get_origin(hint) is not dict:
        for part in typing.get_args(hint):
            yield from _leaves(part, name, None, many or typing.get_origin(hint) is tuple)


NUMBERS = list(_numbers())


def _step(number: Number, value: float, direction: int) -> float:
    return int(value) + direction if number.kind is int else math.nextafter(value, direction * math.inf)


def _just_outside(number: Number) -> list[float]:
    assert number.range is not None
    limits = number.range
    outside = [] if limits.least is None else [_step(number, limits.least, -1)]
    outside += [] if limits.most is None else [_step(number, limits.most, 1)]
    return outside + [float(limit) for limit in (limits.above, limits.below) if limit is not None]


def _just_inside(number: Number) -> list[float]:
    assert number.range is not None
    limits = number.range
    inside = [limit for limit in (limits.least, limits.most) if limit is not None]
    inside += [] if limits.above is None else [math.nextafter(limits.above, math.inf)]
    return inside + ([] if limits.below is None else [math.nextafter(limits.below, -math.inf)])


def test_none_is_forgotten() -> None:
    """By another road: what is a number in the defaults, all of them spelled out."""

    def walk(value: object, name: str) -> Iterator[str]:
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                yield from walk(getattr(value, field.name), f"{name}.{field.name}".removeprefix("."))
        elif isinstance(value, tuple):
            yield from {name for part in value if isinstance(part, int | float)}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name

    names = {number.name for number in NUMBERS}
    assert set(walk(Recipe(), "")) <= names
    assert {"data.views", "data.image_size", "teacher.train", "teacher.shift", "policy.scale"} <= names
    assert len(names) == len(NUMBERS) > 40


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_a_number_out_of_its_range_is_refused_by_name(number: Number) -> None:
    assert number.range is not None, f"{number.name} states no range"
    assert number.range.least is not None or number.range.above is not None
    name = number.name + (r"\[0\]" if number.many else "")
    for value in [*_just_outside(number), -(10**400), 10**400, 2**63]:
        if value == 2**63 and number.kind is float:
            continue  # a float without an upper limit may be that large
        with pytest.raises(InputError, match=f"^recipe digits: {name} must ") as refusal:
            load_recipe("digits", {number.name: [value] if number.many else value})
        assert len(str(refusal.value)) < 200
        with pytest.raises(InputError, match=f"^{name} must "):
            check_settings(_replaced(Recipe(), number.name.split("."), (value,) if number.many else value))


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_limits_themselves_are_allowed(number: Number) -> None:
    for value in _just_inside(number):
        recipe = load_recipe("digits", {number.name: [value] if number.many else value})
        got: Any = recipe
        for part in number.name.split("."):
            got = getattr(got, part)
        assert got == ((value,) if number.many else value)


def _replaced(whole: Any, path: list[str], value: object) -> Any:
    name, *rest = path
    new = _replaced(getattr(whole, name), rest, value) if rest else value
    return dataclasses.replace(whole, **{name: new})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("agent.minibatches", 0, "agent.minibatches must be >= 1, got 0"),
        ("data.label_noise", 2, r"data.label_noise must lie in \[0, 1\], got 2"),
        ("optimization.momentum", -1, r"optimization.momentum must lie in \[0, 1\), got -1"),
        ("optimization.lr", -0.5, "optimization.lr must be > 0, got -0.5"),
        ("data.views", 0, "data.views must be null or >= 1, got 0"),
        ("agent.hidden", [8, -1], r"agent.hidden\[1\] must lie in \[1, 4096\], got -1"),
        ("agent.hidden", [8] * 9, "agent.hidden must have at most 8 values, got 9"),
        (
            "agent.log_std_init",
            math.nextafter(2.0, 3.0),
            r"agent.log_std_init must lie in \[-20, 2\], got 2.0000000000000004",
        ),
        ("student.options", {"a": 2**63}, "student.options must be an integer of at most 63 bits"),
        ("student.options", {"a": [math.inf]}, "student.options must be a finite number, got inf"),
        ("student.options", {"a": {1: 2}}, "a key of student.options must be text, got 1"),
        ("student.options", {"a": object}, "student.options must hold plain values, got <class 'object'>"),
    ],
)
def test_the_error_says_what_is_wanted(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^recipe digits: {message}"):
        load_recipe("digits", {name: value})


def test_options_that_hold_themselves_are_refused() -> None:
    options: dict[str, Any] = {}
    options["self"] = [options]
    with pytest.raises(InputError, match=r"student\.options must be at most 16 levels deep"):
        check_settings(_replaced(Recipe(), ["student", "options"], options))


def test_a_recipe_made_in_python_is_refused_wherever_it_goes(tiny_recipe: Recipe, tiny_task: Task) -> None:
    recipe = _replaced(tiny_recipe, ["agent", "rollouts"], 0)
    with pytest.raises(InputError, match=r"agent\.rollouts must be >= 1, got 0"):
        build_task(recipe)
    with pytest.raises(InputError, match=r"agent\.rollouts must be >= 1, got 0"):
        DistillationVectorEnv(16, recipe, task=tiny_task)


def test_the_largest_agent_is_a_policy_that_can_be_saved(tmp_path: Path) -> None:
    agent = load_recipe("digits", {"agent.hidden": [1] * 7 + [4096]}).agent
    space = load_recipe("digits", {"policy.low": LOWEST, "policy.high": HIGHEST, "policy.scale": HIGHEST}).policy
    features = LogitFeatures(["progress"])
    policy = LearnedPolicy(features, agent.hidden, low=space.low, high=space.high, scale=space.scale)
    save_policy(policy, tmp_path / "policy")


@pytest.mark.parametrize("field", ["teacher.seed", "data.split_seed"])
def test_the_largest_seeds_give_a_task(tiny_recipe: Recipe, field: str) -> None:
    build_task(_replaced(tiny_recipe, field.split("."), 2**63 - 1))
