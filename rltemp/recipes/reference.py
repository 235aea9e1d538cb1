"""What a recipe's fields are, read off the schema: the source of the reference page and of comments in recipes."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from rltemp.recipes.ranges import Length, Range

__all__ = ["Field", "fields_of"]

_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_WORDS = {bool: "true or false", int: "integer", float: "number", str: "text", dict: "mapping"}
_PLURALS = {int: "integers", float: "numbers", str: "texts", dict: "mappings"}


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a recipe.

    Attributes:
        name: its dotted name, such as "optimization.epochs".
        type: what it takes, in YAML's words: "integer", "list of numbers", "text or null".
        default: its value where a recipe does not give one.
        range: which of these values are allowed: ">= 1", "in [0, 1)", "one of kd, dkd"; empty if all are.
        meaning: what it does, one paragraph.
    """

    name: str
    type: str
    default: Any
    range: str
    meaning: str

    @property
    def takes(self) -> str:
        """Type and range."""
        return f"{self.type}, {self.range}" if self.range else self.type


def fields_of(kind: type[Any]) -> list[Field]:
    """All fields of a part of the schema, such as `Recipe`, those of inner parts by their dotted names, in order.

    Args:
        kind: a dataclass whose fields all have defaults; its docstring says what each of them means.
    """
    return list(_walk(kind(), ""))


def _walk(part: Any, prefix: str) -> Iterator[Field]:
    # A part inside another may have other defaults than its class: the teacher's network is not the student's.
    meanings = _meanings(type(part))
    for name, hint in typing.get_type_hints(type(part), include_extras=True).items():
        value, dotted = getattr(part, name), f"{prefix}{name}"
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{dotted}.")
        else:
            yield Field(dotted, _type_of(hint), value, _range_of(hint), meanings[name])


def _meanings(kind: type[Any]) -> dict[str, str]:
    """Meaning of every field, out of the section "Attributes" of the docstring."""
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(section)}


def _type_of(hint: Any, words: dict[type, str] = _WORDS) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _type_of(arguments[0], words)
    if origin in (types.UnionType, typing.Union):
        return f"{_type_of(_without_none(arguments), words)} or null"
    if origin is tuple:
        return f"list of {_type_of(arguments[0], _PLURALS)}"
    if origin is Literal:
        return words[str]
    return words[origin or hint]


def _range_of(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return ", ".join(filter(None, (_range_of(arguments[0]), *map(_limit, arguments[1:]))))
    if origin in (types.UnionType, typing.Union):
        return _range_of(_without_none(arguments))
    if origin is tuple:
        each = _range_of(arguments[0])
        return each and f"each {each}"
    return f"one of {', '.join(arguments)}" if origin is Literal else ""


def _limit(limit: Range | Length) -> str:
    if isinstance(limit, Length):
        return f"at most {limit.most} values"
    return limit.wanted().removeprefix("be ").removeprefix("lie ")


def _without_none(arguments: tuple[Any, ...]) -> Any:
    (wanted,) = (argument for argument in arguments if argument is not types.NoneType)
    return wanted
