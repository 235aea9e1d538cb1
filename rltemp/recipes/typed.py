"""From plain values, as YAML gives them, to a dataclass whose fields have the types they state."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from rltemp.errors import InputError

__all__ = ["typed"]

T = TypeVar("T")


def typed(kind: type[T], values: object, name: str) -> T:
    """An instance of the dataclass `kind`; fields that `values` lacks have their defaults.

    Args:
        kind: its fields are of the types bool, int, float, str, dict, a tuple of one of these, one of them or None, a
            choice of literals, or another such dataclass.
        values: a mapping.
        name: what errors call it; a field is `name.field`, or `field` where `name` is empty.

    Raises:
        InputError: for anything but a mapping, an unknown field, a value of another type, NaN or infinity.
    """
    if not isinstance(values, Mapping):
        raise _wrong(name, "a mapping of values", values)
    hints = typing.get_type_hints(kind)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise InputError(f"unknown key {_join(name, unknown[0])!r}, want one of {', '.join(hints)}")
    return kind(**{key: _convert(hints[key], value, _join(name, key)) for key, value in values.items()})


def _convert(hint: Any, value: object, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return typed(typing.cast(type[Any], hint), value, name)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _wrong(name, f"one of {', '.join(arguments)}", value)
        return value
    if origin in (types.UnionType, typing.Union):
        (wanted,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _convert(wanted, value, name)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise _wrong(name, "a list", value)
        return tuple(_convert(arguments[0], part, f"{name}[{i}]") for i, part in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _wrong(name, "a mapping of names to values", value)
        return dict(value)
    return _number(name, value) if hint is float else _plain(hint, value, name)


def _plain(hint: type[Any], value: object, name: str) -> Any:
    # To Python, True is an integer.
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(name, {int: "an integer", str: "text", bool: "true or false"}[hint], value)
    return value


def _number(name: str, value: object) -> float:
    try:
        # YAML 1.1 reads 1e-3, without a point, as text.
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(name, "a finite number", value)
    return number


def _wrong(name: str, want: str, got: object) -> InputError:
    text = repr(got)
    return InputError(f"{name or 'the whole'} must be {want}, got {text if len(text) <= 80 else text[:77] + '...'}")


def _join(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)
