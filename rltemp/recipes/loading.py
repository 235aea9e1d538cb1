"""Loading of a recipe, by name or from a file with overrides, into checked values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltemp.errors import InputError
from rltemp.recipes.finding import is_file_name, list_recipes, read_recipe
from rltemp.recipes.renamed import refuse_old_names
from rltemp.recipes.schema import Recipe
from rltemp.recipes.typed import typed

__all__ = ["change_recipe", "count_updates", "dump_recipe", "list_recipes", "load_recipe", "plain", "vary"]

_LONGEST_CHAIN, _DEEPEST = 10, 16
_VARIABLE = ("data", "teacher", "student", "optimization")


def load_recipe(recipe: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    A file may contain `extends: NAME` or `extends: FILE`, relative to its own folder, and then only the values that
    differ.

    Args:
        recipe: one of `list_recipes()`, or the path of a YAML file.
        overrides: values by dotted name ("optimization.epochs") or nested ({"optimization": {"epochs": 3}}).

    Raises:
        InputError: for an unknown recipe or key, a value of another type or out of its range, or a file that is not a
            mapping in plain YAML (see `load_plain`).
    """
    values = _content(recipe, ())
    if isinstance(values, dict):
        _merge(values, _together(overrides or {}))
    try:
        whole = _whole(values)
        vary(whole)
    except InputError as error:
        raise InputError(f"recipe {recipe}: {error}") from error
    return whole


def vary(recipe: Recipe) -> list[Recipe]:
    """The recipes that an agent trains on: the recipe itself, then one for each of `agent.variations`.

    Raises:
        InputError: for a variation that is no valid recipe, or that changes what all tasks of an agent share, such as
            the batch size and the number of updates.
    """
    whole = [recipe]
    own = {name: plain(value) for name, value in dataclasses.asdict(recipe).items() if name != "agent"}
    for number, changes in enumerate(recipe.agent.variations):
        name = f"agent.variations[{number}]"
        for key in changes:
            if key.split(".")[0] not in _VARIABLE:
                raise InputError(f"{name} must change values of {', '.join(_VARIABLE)}, got {key[:80]!r}")
        values = dict(own)
        _merge(values, _together(changes))
        try:
            whole.append(dataclasses.replace(typed(Recipe, values, ""), agent=recipe.agent))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        if _course(whole[-1]) != _course(recipe):
            raise InputError(
                f"{name} must have the recipe's batch size and number of updates {_course(recipe)}, "
                f"got {_course(whole[-1])}"
            )
    return whole


def count_updates(recipe: Recipe) -> int:
    """Updates of one run: minibatches of an epoch, its incomplete last one left out, times the epochs."""
    return recipe.optimization.epochs * (recipe.data.train // recipe.optimization.batch_size)


def change_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with other values.

    Args:
        recipe: the recipe.
        changes: values by dotted name, such as {"optimization.lr": 0.1}.

    Raises:
        InputError: for an unknown name, or a value of another type or out of its range.
    """
    values: dict[str, Any] = {name: plain(value) for name, value in dataclasses.asdict(recipe).items()}
    _merge(values, _together(changes))
    return _whole(values)


_OF_FEATURES = ("features", "features_weight", "negatives")


def dump_recipe(recipe: Recipe, *, agent: bool = True) -> str:
    """The recipe as YAML with every value written out; `load_recipe` reads it back.

    Args:
        recipe: the recipe.
        agent: whether to include the agent's settings, and what else a run with a trained policy does not use: what an
            agent may choose beside temperatures, and the settings of an objective on features where there is none.
    """
    import yaml

    values = plain(dataclasses.asdict(recipe))
    if not agent:
        del values["agent"], values["policy"]["scale_range"], values["policy"]["label_range"]
        # What most tasks have none of is not said, as before it could be: a recipe's text names what is kept of it.
        for part, name in (("data", "context"), ("teacher", "source"), ("teacher", "path")):
            if values[part][name] is None:
                del values[part][name]
        if recipe.execution.side_by_side == "auto":
            del values["execution"]["side_by_side"]
        if recipe.optimization.features == "none":
            for name in _OF_FEATURES:
                del values["optimization"][name]
    return yaml.safe_dump(values, sort_keys=False)


def _whole(values: object) -> Recipe:
    if isinstance(values, Mapping):
        refuse_old_names(values)
    return typed(Recipe, values, "")


def _content(recipe: str | Path, extended_by: tuple[str, ...]) -> object:
    """Plain values of a recipe, merged over those of the recipe that it extends.

    Args:
        recipe: name or path of the recipe.
        extended_by: the chain of recipes that extend this one, to detect cycles.
    """
    from rltemp.recipes.plain_yaml import load_plain

    values = load_plain(read_recipe(recipe), f"recipe {recipe}")
    if not isinstance(values, dict) or "extends" not in values:
        return {} if values is None else values
    base = values.pop("extends")
    if not isinstance(base, str):
        raise InputError(f"recipe {recipe}: extends must be the name or file of a recipe, got {base!r}")
    if is_file_name(base):
        base = str(Path(recipe).parent / base)
    if base in (chain := (*extended_by, str(recipe))):
        raise InputError(f"recipe {recipe}: extends must not come back to {base}")
    if len(chain) > _LONGEST_CHAIN:
        raise InputError(f"recipe {recipe}: at most {_LONGEST_CHAIN} recipes may extend one another")
    whole = _content(base, chain)
    if not isinstance(whole, dict):
        return whole
    _merge(whole, values)
    return whole


def _merge(values: dict[str, Any], override: Mapping[str, Any]) -> None:
    """Replace values by those in `override`, in place; mappings are merged key by key.

    Options of a network do not outlive its name: another network takes others.
    """
    if "name" in values and override.get("name", values["name"]) != values["name"]:
        values.pop("options", None)
    for name, value in override.items():
        old = values.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            values[name] = dict(old)
            _merge(values[name], value)
        else:
            values[name] = value


def _together(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as one nested mapping, whatever their order."""
    whole: dict[str, Any] = {}
    for name, value in changes.items():
        _merge(whole, _nested(name, value))
    return whole


def _nested(name: str, value: Any) -> dict[str, Any]:
    """The nested mapping of a dotted name: {"a": {"b": value}} for "a.b"."""
    *outer, inner = name.split(".")
    if len(outer) > _DEEPEST:
        raise InputError(f"the name of a value must have at most {_DEEPEST} dots, got {len(outer)}")
    nested = {inner: value}
    for part in reversed(outer):
        nested = {part: nested}
    return nested


def _course(recipe: Recipe) -> tuple[int, int]:
    """Instances of a minibatch and number of updates of a run."""
    return recipe.instances, count_updates(recipe)


def plain(value: Any) -> Any:
    """The value in lists and mappings, as YAML has it."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, tuple | list) else value
