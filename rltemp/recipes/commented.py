"""A recipe as YAML in which every field says what it means."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

from rltemp.recipes.loading import plain
from rltemp.recipes.reference import Field, fields_of
from rltemp.recipes.schema import Recipe

__all__ = ["comment_recipe"]

_WIDTH = 110


def comment_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every value written out, each below what it means, takes, and is by default.

    `load_recipe` reads it back as it reads `dump_recipe`.
    """
    fields = {field.name: field for field in fields_of(Recipe)}
    return "\n".join(_lines(recipe, "", fields)) + "\n"


def _lines(part: Any, prefix: str, fields: dict[str, Field]) -> Iterator[str]:
    indent = "  " * prefix.count(".")
    for name in (field.name for field in dataclasses.fields(part)):
        value, dotted = getattr(part, name), f"{prefix}{name}"
        if dataclasses.is_dataclass(value):
            yield f"{indent}{name}:"
            yield from _lines(value, f"{dotted}.", fields)
        else:
            yield from _comment(fields[dotted], indent)
            yield f"{indent}{name}: {_in_one_line(value)}"


def _comment(field: Field, indent: str) -> Iterator[str]:
    text = f"{field.meaning} ({field.takes}; default {_in_one_line(field.default)})"
    return iter(textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "))


def _in_one_line(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(plain(value), default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
