"""Conversion of plain values, as YAML gives them, to dataclasses whose fields state types and ranges."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from rltemp.errors import InputError
from rltemp.recipes.ranges import Length, Range

__all__ = ["typed"]

T = TypeVar("T")

_DEEPEST = 16
_INTEGERS = Range(above=-(2**63), below=2**63)


def typed(kind: type[T], values: object, name: str) -> T:
    """Make an instance of the dataclass `kind`; fields missing in `values` get their defaults.

    Args:
        kind: its fields have the types bool, int, float, str, dict, a tuple of one of these, one of them or None, a
            choice of literals, or another such dataclass; `Annotated` with a `Range`, or for a tuple with a `Length`.
        values: a mapping, or an instance of `kind`, of which every field is checked again.
        name: what errors call it; a field is `name.field`, or `field` if `name` is empty.

    Raises:
        InputError: for other values, an unknown field, a value of another type or out of its range, NaN, or infinity.
    """
    if isinstance(values, kind) and dataclasses.is_dataclass(values):
        values = {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
    if not isinstance(values, Mapping):
        raise _wrong(name, "be a mapping of values", values)
    hints = typing.get_type_hints(kind, include_extras=True)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise InputError(f"unknown key {_shown(_join(name, unknown[0]))}, want one of {', '.join(hints)}")
    return kind(**{key: _convert(hints[key], value, _join(name, key)) for key, value in values.items()})


def _convert(hint: Any, value: object, name: str, nullable: bool = False) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        converted = _convert(arguments[0], value, name)
        for limit in arguments[1:]:
            _check_limit(limit, converted, name, nullable)
        return converted
    if dataclasses.is_dataclass(hint):
        return typed(typing.cast(type[Any], hint), value, name)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _wrong(name, f"be one of {', '.join(arguments)}", value)
        return value
    if origin in (types.UnionType, typing.Union):
        (wanted,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _convert(wanted, value, name, nullable=True)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise _wrong(name, "be a list", value)
        return tuple(_convert(arguments[0], part, f"{name}[{i}]") for i, part in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _wrong(name, "be a mapping of names to values", value)
        _check_plain(value, name)
        return dict(value)
    return _number(name, value) if hint is float else _plain(hint, value, name)


def _check_limit(limit: Range | Length, value: Any, name: str, nullable: bool) -> None:
    if isinstance(limit, Length):
        if len(value) > limit.most:
            raise InputError(f"{name} must have at most {limit.most} values, got {len(value)}")
    elif value not in limit:
        raise _wrong(name, limit.wanted(nullable), int(value) if value == int(value) else value)


def _check_plain(value: object, name: str, depth: int = 0) -> None:
    """Raise `InputError` for values other than YAML's, in the options of networks, whose types no schema states."""
    if depth > _DEEPEST:
        raise InputError(f"{name} must be at most {_DEEPEST} levels deep")
    if isinstance(value, Mapping):
        for key, part in value.items():
            _plain(str, key, f"a key of {name}")
            _check_plain(part, name, depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_plain(part, name, depth + 1)
    elif isinstance(value, float):
        _number(name, value)
    elif isinstance(value, int):
        _plain(type(value), value, name)
    elif value is not None and not isinstance(value, str):
        raise _wrong(name, "hold plain values", value)


def _plain(hint: type[Any], value: object, name: str) -> Any:
    # In Python, True is an integer.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(name, {int: "be an integer", str: "be text", bool: "be true or false"}[hint], value)
    if hint is int and value not in _INTEGERS:
        raise _wrong(name, "be an integer of at most 63 bits", value)
    return value


def _number(name: str, value: object) -> float:
    try:
        # YAML 1.1 reads 1e-3, without a decimal point, as text.
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(name, "be a finite number", value)
    return number


def _wrong(name: str, want: str, got: object) -> InputError:
    return InputError(f"{name or 'the whole'} must {want}, got {_shown(got)}")


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of levels
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _join(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)
