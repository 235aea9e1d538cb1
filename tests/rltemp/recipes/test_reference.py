"""What the reference says of a recipe's fields is what the reader of recipes does."""

import dataclasses
import json
from typing import Any

import pytest
import yaml

from rltemp.errors import InputError
from rltemp.recipes import Recipe, dump_recipe, load_recipe
from rltemp.recipes.reference import Field, fields_of
from rltemp.recipes.schema import Agent

FIELDS = {field.name: field for field in fields_of(Recipe)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names and values; the options of networks are one value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, f"{name}.") if isinstance(value, dict) and key != "options" else {name: value})
    return flat


def test_every_field_of_a_written_recipe_is_there_in_order_with_its_default() -> None:
    written = _flat(yaml.safe_load(dump_recipe(Recipe())))
    assert list(FIELDS) == list(written)
    assert {name: json.loads(json.dumps(field.default)) for name, field in FIELDS.items()} == written


def test_every_field_has_a_meaning_of_one_line() -> None:
    for field in FIELDS.values():
        assert field.meaning.endswith("."), field
        assert len(field.meaning.split()) >= 3, field
        assert field.meaning == " ".join(field.meaning.split())


@pytest.mark.parametrize(
    ("name", "kind", "limits"),
    [
        ("data.name", "text", ""),
        ("data.flip", "true or false", ""),
        ("data.label_noise", "number", "in [0, 1]"),
        ("data.image_size", "integer or null", "in [1, 4096]"),
        ("teacher.without", "number", "in [0, 1)"),
        ("teacher.network.options", "mapping", ""),
        ("optimization.lr", "number", "> 0"),
        ("optimization.schedule", "text", "one of cosine, multistep"),
        ("optimization.milestones", "list of numbers", "each in (0, 1]"),
        ("policy.features", "list of texts", ""),
        ("agent.hidden", "list of integers", "each in [1, 4096], at most 8 values"),
        ("agent.variations", "list of mappings", "at most 256 values"),
    ],
)
def test_types_and_ranges_in_words(name: str, kind: str, limits: str) -> None:
    assert (FIELDS[name].type, FIELDS[name].range) == (kind, limits)


@pytest.mark.parametrize("field", [field for field in FIELDS.values() if field.range.startswith("one of ")])
def test_choices_are_taken_and_no_others(field: Field) -> None:
    for choice in field.range.removeprefix("one of ").split(", "):
        load_recipe("digits-short", {field.name: choice})
    with pytest.raises(InputError, match=field.name):
        load_recipe("digits-short", {field.name: "no such choice"})


def test_null_is_taken_where_the_type_says_so_and_nowhere_else() -> None:
    for name, field in FIELDS.items():
        if field.type.endswith(" or null"):
            load_recipe("digits-short", {name: None})
        else:
            with pytest.raises(InputError):
                load_recipe("digits-short", {name: None})


def test_a_part_of_the_schema_has_short_names() -> None:
    assert [field.name for field in fields_of(Agent)] == [field.name for field in dataclasses.fields(Agent)]
