"""The reference of recipes: a table for each of their sections, from the schema."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from cells import cell

from rltemp.recipes.reference import Field, fields_of
from rltemp.recipes.schema import Recipe

__all__ = ["recipe_tables"]


def recipe_tables() -> str:
    """All fields of a recipe, as Markdown."""
    fields = fields_of(Recipe)
    sections = []
    for section in dataclasses.fields(Recipe):
        inside = [field for field in fields if field.name.startswith(f"{section.name}.")]
        sections += [f"## {section.name}", _table(inside)]
    return "\n\n".join(sections)


def _table(fields: Sequence[Field]) -> str:
    rows = ["| field | takes | default | meaning |", "| :-- | :-- | :-- | :-- |"]
    for field in fields:
        rows.append(f"| `{field.name}` | {cell(field.takes)} | `{_plain(field.default)}` | {cell(field.meaning)} |")
    return "\n".join(rows)


def _plain(value: object) -> str:
    """A default as a recipe's YAML would have it."""
    return value if isinstance(value, str) else json.dumps(value)
