"""A recipe is what its file and its overrides say, or one clear line says why not."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rltemp.errors import InputError
from rltemp.recipes import Recipe, change_recipe, dump_recipe, list_recipes, load_recipe, vary


@pytest.mark.parametrize("name", list_recipes())
def test_what_is_dumped_is_loaded(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    file = tmp_path / "again.yaml"
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(file) == load_recipe(str(file)) == recipe
    assert hash(recipe.optimization) == hash(load_recipe(file).optimization)


def test_a_dumped_recipe_spells_everything_out() -> None:
    content = yaml.safe_load(dump_recipe(load_recipe("digits-short")))
    for field in dataclasses.fields(Recipe):
        part = getattr(load_recipe("digits-short"), field.name)
        assert set(content[field.name]) == {inner.name for inner in dataclasses.fields(part)}


def test_the_recipes_are_those_that_were_measured() -> None:
    """600 training images, a student 64-16-10, five teachers, batches of 32: 90 and 270 updates."""
    assert {"digits", "digits-short"} <= set(list_recipes())
    for name, epochs in (("digits-short", 5), ("digits", 15)):
        recipe = load_recipe(name)
        assert recipe.optimization.epochs * (recipe.data.train // recipe.optimization.batch_size) == epochs * 18
        assert (recipe.student.name, recipe.student.options) == ("mlp", {"hidden": [16]})
        assert (recipe.teacher.members, recipe.teacher.network.options) == (5, {"hidden": [256, 256]})
        assert (recipe.optimization.kd_weight, recipe.optimization.ce_weight) == (0.9, 0.1)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yml").write_text("# nothing\n")
    assert load_recipe(tmp_path / "empty.yml") == Recipe()


@pytest.mark.parametrize(
    "overrides",
    [
        {"optimization.epochs": 2, "student.options.hidden": [8]},
        {"optimization": {"epochs": 2}, "student": {"options": {"hidden": [8]}}},
        {"optimization": {"epochs": 2}, "student.options": {"hidden": [8]}},
        {"optimization.epochs": 9, "optimization": {"epochs": 2}, "student.options.hidden": [8]},
    ],
)
def test_overrides_by_dotted_name_or_nested_change_that_value_alone(overrides: dict[str, Any]) -> None:
    plain, changed = load_recipe("digits"), load_recipe("digits", overrides)
    assert changed.optimization == dataclasses.replace(plain.optimization, epochs=2)
    assert changed.student == dataclasses.replace(plain.student, options={"hidden": [8]})
    assert (changed.data, changed.teacher, changed.policy, changed.agent) == (
        plain.data,
        plain.teacher,
        plain.policy,
        plain.agent,
    )
    assert load_recipe("digits") == plain


def test_options_of_a_network_do_not_outlive_its_name(tmp_path: Path) -> None:
    same, other = {"student.name": "mlp"}, {"student.name": "cnn"}
    assert load_recipe("digits-short", same) == load_recipe("digits-short")
    assert load_recipe("digits-short", other).student.options == {}
    for changes in (
        {"student.name": "cnn", "student.options": {"channels": [4]}},
        {"student.options": {"channels": [4]}, "student.name": "cnn"},
        {"student.options.channels": [4], "student": {"name": "cnn"}},
    ):
        recipe = load_recipe("digits-short", changes)
        assert recipe.student.options == {"channels": [4]}
        assert change_recipe(load_recipe("digits-short"), changes) == recipe
    (tmp_path / "mine.yaml").write_text("extends: digits-short\nteacher: {network: {name: cnn}}\n")
    extended = load_recipe(tmp_path / "mine.yaml")
    assert extended.teacher.network.options == {}
    assert extended.student == load_recipe("digits-short").student


def test_an_override_is_not_written_into() -> None:
    overrides: dict[str, Any] = {"student": {"options": {"hidden": [8]}}, "student.name": "cnn"}
    load_recipe("digits", overrides)
    assert overrides == {"student": {"options": {"hidden": [8]}}, "student.name": "cnn"}


@pytest.mark.parametrize(("value", "want"), [(1, 1.0), (0.5, 0.5), ("1e-3", 0.001), ("0.25", 0.25)])
def test_numbers_may_be_written_as_yaml_reads_them(value: object, want: float) -> None:
    rate = load_recipe("digits", {"optimization.lr": value}).optimization.lr
    assert (type(rate), rate) == (float, want)


def test_lists_become_tuples_and_null_is_none() -> None:
    recipe = load_recipe("digits", {"optimization.milestones": [0.5, 1], "agent.hidden": [3], "data.image_size": None})
    assert recipe.optimization.milestones == (0.5, 1.0)
    assert recipe.agent.hidden == (3,)
    assert recipe.data.image_size is None
    assert load_recipe("digits", {"data.image_size": 4}).data.image_size == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"optimizer": {}}, "unknown key 'optimizer', want one of data, teacher, student"),
        ({"optimization.epoch": 3}, "unknown key 'optimization.epoch', want one of epochs, batch_size"),
        ({"teacher.network.width": 3}, "unknown key 'teacher.network.width', want one of name, options"),
        ({"data..train": 3}, "unknown key 'data.', want one of name"),
        ({"": 3}, "unknown key ''"),
        ({"optimization": 3}, "optimization must be a mapping of values, got 3"),
        ({"optimization": None}, "optimization must be a mapping of values, got None"),
        ({"student": "cnn"}, "student must be a mapping of values, got 'cnn'"),
        ({"data": "other.yaml"}, "data must be a mapping of values, got 'other.yaml'"),
        ({"optimization.epochs.more": 3}, r"optimization.epochs must be an integer, got \{'more': 3\}"),
        ({"optimization.epochs": "3"}, "optimization.epochs must be an integer, got '3'"),
        ({"optimization.epochs": 3.0}, "optimization.epochs must be an integer, got 3.0"),
        ({"optimization.epochs": True}, "optimization.epochs must be an integer, got True"),
        ({"optimization.epochs": None}, "optimization.epochs must be an integer, got None"),
        ({"optimization.lr": "fast"}, "optimization.lr must be a finite number, got 'fast'"),
        ({"optimization.lr": math.nan}, "optimization.lr must be a finite number, got nan"),
        ({"optimization.lr": "inf"}, "optimization.lr must be a finite number, got 'inf'"),
        ({"optimization.lr": 10**400}, "optimization.lr must be a finite number, got 1000"),
        ({"optimization.lr": False}, "optimization.lr must be a finite number, got False"),
        ({"optimization.lr": [0.1]}, r"optimization.lr must be a finite number, got \[0.1\]"),
        ({"optimization.schedule": "step"}, "optimization.schedule must be one of cosine, multistep, got 'step'"),
        ({"optimization.objective": None}, "optimization.objective must be one of kd, dkd, got None"),
        ({"agent.credit": ["uniform"]}, "agent.credit must be one of uniform"),
        ({"optimization.milestones": 0.5}, "optimization.milestones must be a list, got 0.5"),
        ({"optimization.milestones": "0.5"}, "optimization.milestones must be a list, got '0.5'"),
        ({"agent.hidden": [3, "a"]}, r"agent.hidden\[1\] must be an integer, got 'a'"),
        ({"data.flip": 1}, "data.flip must be true or false, got 1"),
        ({"data.path": 5}, "data.path must be text, got 5"),
        ({"student.options": [1]}, r"student.options must be a mapping of names to values, got \[1\]"),
        ({"student.options": {1: 2}}, "student.options must be a mapping of names to values"),
    ],
)
def test_what_a_recipe_cannot_say_is_refused_in_one_line(override: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"recipe digits: {message}") as refusal:
        load_recipe("digits", override)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        "- 1",
        "3",
        "just words",
        "data: [1",
        "data: {1: 2}",
        "1: 2",
        "data: 2020-01-01",
        "a: &a [*a]",
        "data: &d {name: *d}",
        "data: !!python/object/apply:os.mkdir [fuse]",
        "data: !!python/name:os.system",
        "data: {train: " + "9" * 5000 + "}",
        "[" * 3000,
        "{a: " * 2000,
        "\x00",
    ],
)
def test_files_that_are_no_recipes_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.yaml").write_text(text)
    with pytest.raises(InputError, match=r"recipe odd\.yaml") as refusal:
        load_recipe("odd.yaml")
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.yaml"]


@settings(max_examples=200)
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5), st.data()
)
def test_any_value_anywhere_is_taken_or_refused(value: object, data: st.DataObject) -> None:
    sections = dataclasses.fields(Recipe)
    section = data.draw(st.sampled_from(sections))
    part = getattr(Recipe(), section.name)
    field = data.draw(st.sampled_from(dataclasses.fields(part)))
    try:
        taken = load_recipe("digits", {f"{section.name}.{field.name}": value})
    except InputError:
        return
    default = getattr(getattr(Recipe(), section.name), field.name)
    got = getattr(getattr(taken, section.name), field.name)
    if default is not None and got is not None:
        assert type(got) is type(default)


def test_unknown_names_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"recipe must be one of .*digits-short.*, or the path of a .yaml file; got 'cifar'"
    ):
        load_recipe("cifar")
    with pytest.raises(InputError, match=r"recipe file .*missing\.yaml cannot be read"):
        load_recipe(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(tmp_path / "latin.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(tmp_path / "folder.yaml")
    with pytest.raises(InputError, match="recipe must be one of"):
        load_recipe("../recipes/digits")


def test_variations_are_the_recipe_with_their_changes() -> None:
    changes = [{"data.split_seed": 4, "student.options": {"hidden": [24]}}, {"optimization": {"lr": 0.1}}]
    recipe = load_recipe("digits-short", {"agent.variations": changes, "teacher.seed": 3})
    plain, split, rate = vary(recipe)
    assert plain == recipe
    assert split == load_recipe(
        "digits-short",
        {"data.split_seed": 4, "student.options.hidden": [24], "teacher.seed": 3, "agent": _agent(changes)},
    )
    assert (rate.optimization.lr, rate.optimization.epochs, rate.data) == (0.1, recipe.optimization.epochs, recipe.data)
    assert vary(load_recipe("digits-short")) == [load_recipe("digits-short")]


def _agent(changes: Sequence[object]) -> dict[str, object]:
    return {"variations": changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.split": 1}, r"agent\.variations\[1\]: unknown key 'data\.split'"),
        ({"optimization": {"lr": "fast"}}, r"agent\.variations\[1\]: optimization\.lr must be a finite number"),
        ({"policy.low": 1.0}, r"agent\.variations\[1\] must change values of data, teacher, .*got 'policy\.low'"),
        ({"agent.seed": 1}, r"agent\.variations\[1\] must change values of data, teacher, .*got 'agent\.seed'"),
    ],
)
def test_a_variation_that_is_no_recipe_is_refused_before_any_work(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("digits-short", {"agent.variations": [{}, change]})


@pytest.mark.parametrize("name", ["digits-varied", "cifar100-cpu"])
def test_a_recipe_is_changed_as_if_it_had_been_loaded_so(name: str) -> None:
    recipe = load_recipe(name)
    before = dump_recipe(recipe)
    changes: dict[str, Any] = {
        "optimization.lr": 1,
        "data.shift": 0,
        "teacher.noise": 0.25,
        "student.options": {"hidden": [8], "more": None},
        "references.policies": ["static(temperature=2)", "anneal"],
        "references.runs": 7,
    }
    changed = change_recipe(recipe, changes)
    assert changed == load_recipe(name, {**changes, "student.options": {"hidden": [8], "more": None}})
    assert (changed.optimization.lr, type(changed.optimization.lr)) == (1.0, float)
    assert changed.references.policies == ("static(temperature=2)", "anneal")
    assert changed.agent == recipe.agent
    assert dump_recipe(recipe) == before
    assert change_recipe(recipe, {}) == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimization.lrr": 0.1}, "lrr"),
        ({"optimisation.lr": 0.1}, "optimisation"),
        ({"optimization.lr": 0}, "optimization.lr must be > 0"),
        ({"optimization.lr": "fast"}, "optimization.lr"),
        ({"teacher.noise": -1.0}, "teacher.noise must be"),
        ({"references.runs": -1}, "references.runs must be >= 0"),
        ({"references.policies": "dtkd"}, "references.policies"),
    ],
)
def test_a_wrong_change_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        change_recipe(load_recipe("digits-short"), changes)


def test_references_are_read_back_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tuned.yaml"
    references = {"references.policies": ["anneal(start=2, end=0.25, scale=4)"], "references.runs": 96}
    recipe = change_recipe(load_recipe("digits-short"), references)
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(file) == recipe
    assert load_recipe("digits-short").references.policies == ()
