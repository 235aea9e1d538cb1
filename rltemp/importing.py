"""Import of what a recipe names as MODULE:NAME, which runs the module, by leave alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rltemp.errors import InputError, first_line, short

__all__ = ["import_named"]


def import_named(
    field: str,
    name: str,
    wanted: str,
    allow_code: bool,
    *,
    hint: str = "",
    make: Callable[[Any], Any] = lambda named: named,
) -> Any:
    """What `make` makes of the NAME in the MODULE.

    Args:
        field: what errors call the value that says `name`.
        name: MODULE:NAME.
        wanted: what it must be, in errors.
        allow_code: whether the module may be imported.
        hint: what errors without leave end with.
        make: called with what was found; errors of its code are those of the module.

    Raises:
        InputError: without leave, or for a module that has no such name, or fails.
    """
    if not allow_code:
        raise InputError(f"{field} {short(name)} would run code: give --allow-code to allow it{hint}")
    module, _, inside = name.partition(":")
    try:
        return make(getattr(importlib.import_module(module), inside))
    except Exception as error:  # of a user's module, whatever it raises
        raise InputError(f"{field} must be {wanted}, got {short(name)}: {first_line(error)}") from error
