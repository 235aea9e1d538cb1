"""From a name or a file, and overrides, to a checked recipe."""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltemp.errors import InputError
from rltemp.recipes.schema import Recipe
from rltemp.recipes.typed import typed

__all__ = ["dump_recipe", "list_recipes", "load_recipe", "vary"]

_SUFFIXES = (".yaml", ".yml")
_VARIABLE = ("data", "teacher", "student", "optimization")
_RENAMED = {("agent", "calibration"): "credit"}
"""Keys by section that recipes may still use, and what each is called."""


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = importlib.resources.files("rltemp.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(recipe: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    A file may say `extends: NAME` or `extends: FILE`, relative to its own folder, and then only what differs.

    Args:
        recipe: a name out of `list_recipes()`, or the path of a YAML file.
        overrides: values by dotted name ("optimization.epochs") or nested ({"optimization": {"epochs": 3}}).

    Raises:
        InputError: for an unknown recipe or key, a value of the wrong type, or a file that is no YAML mapping.
    """
    values = _content(recipe, ())
    if isinstance(values, dict):
        for name, value in (overrides or {}).items():
            _merge(values, _renamed(_nested(name, value)))
    try:
        whole = typed(Recipe, values, "")
        vary(whole)
    except InputError as error:
        raise InputError(f"recipe {recipe}: {error}") from error
    return whole


def vary(recipe: Recipe) -> list[Recipe]:
    """What the agent of a recipe trains on: the recipe itself, then each of `agent.variations`.

    Raises:
        InputError: for a variation of what all tasks of an agent have in common, or one that is no recipe.
    """
    whole = [recipe]
    for number, changes in enumerate(recipe.agent.variations):
        name = f"agent.variations[{number}]"
        values = _plain(dataclasses.asdict(recipe))
        for key, value in changes.items():
            if key.split(".")[0] not in _VARIABLE:
                raise InputError(f"{name} must change values of {', '.join(_VARIABLE)}, got {key!r}")
            _merge(values, _nested(key, value))
        try:
            whole.append(typed(Recipe, values, ""))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    return whole


def dump_recipe(recipe: Recipe, *, agent: bool = True) -> str:
    """The recipe as YAML, every value spelled out; `load_recipe` reads it back.

    Args:
        recipe: the recipe.
        agent: whether to say how the agent learns, which is nothing to a run that uses what it has learned.
    """
    import yaml

    values = _plain(dataclasses.asdict(recipe))
    if not agent:
        del values["agent"]
    return yaml.safe_dump(values, sort_keys=False)


def _content(recipe: str | Path, extended_by: tuple[str, ...]) -> object:
    """Plain values of a recipe, put on top of those of the recipe that it extends."""
    import yaml

    try:
        values = yaml.safe_load(_read(recipe))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"recipe {recipe} must be YAML: {' '.join(str(error).split())}") from error
    values = _renamed(values) if isinstance(values, dict) else values
    if not isinstance(values, dict) or "extends" not in values:
        return {} if values is None else values
    base = values.pop("extends")
    if not isinstance(base, str):
        raise InputError(f"recipe {recipe}: extends must be the name or file of a recipe, got {base!r}")
    if Path(base).suffix in _SUFFIXES:
        base = str(Path(recipe).parent / base)
    if base in (chain := (*extended_by, str(recipe))):
        raise InputError(f"recipe {recipe}: extends must not come back to {base}")
    whole = _content(base, chain)
    if not isinstance(whole, dict):
        return whole
    _merge(whole, values)
    return whole


def _read(recipe: str | Path) -> str:
    path = Path(recipe)
    if path.suffix in _SUFFIXES:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"recipe file {path} cannot be read: {error}") from error
    if str(recipe) not in list_recipes():
        known = ", ".join(list_recipes())
        raise InputError(f"recipe must be one of {known}, or the path of a .yaml file; got {str(recipe)!r}")
    return (importlib.resources.files("rltemp.recipes") / f"{recipe}.yaml").read_text(encoding="utf-8")


def _merge(values: dict[str, Any], override: Mapping[str, Any]) -> None:
    """Put the leaves of `override` in place of those of `values`."""
    for name, value in override.items():
        old = values.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            values[name] = dict(old)
            _merge(values[name], value)
        else:
            values[name] = value


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Values with old keys under their new names.

    Raises:
        InputError: for a section that has both.
    """
    values = dict(values)
    for (section, old), new in _RENAMED.items():
        inner = values.get(section)
        if isinstance(inner, Mapping) and old in inner:
            if new in inner:
                raise InputError(f"{section}.{old} is the old name of {section}.{new}: give one of them, got both")
            values[section] = {new if key == old else key: value for key, value in inner.items()}
    return values


def _nested(name: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} from "a.b"."""
    head, _, rest = name.partition(".")
    return {head: _nested(rest, value) if rest else value}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value
