"""Finding recipes: in the package by name, or in files."""

from __future__ import annotations

import difflib
import importlib.resources
from pathlib import Path

from rltemp.errors import InputError
from rltemp.reading import read_text

__all__ = ["is_file_name", "list_recipes", "read_recipe"]

_SUFFIXES = (".yaml", ".yml")
_MOST_BYTES = 1 << 18


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    folder = importlib.resources.files("rltemp.recipes")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def is_file_name(recipe: str | Path) -> bool:
    """Whether `recipe` is the path of a file, by its suffix, instead of the name of a recipe in the package."""
    return Path(recipe).suffix in _SUFFIXES


def read_recipe(recipe: str | Path) -> str:
    """The YAML text of a recipe, by its name or path.

    Raises:
        InputError: for an unknown name, or a file that is missing, larger than 256 KiB, not regular, or not UTF-8.
    """
    if is_file_name(recipe):
        try:
            return read_text(recipe, "a recipe in UTF-8", _MOST_BYTES)
        except InputError as error:
            raise InputError(f"recipe file {recipe} cannot be read: {error}") from error
    known = list_recipes()
    if str(recipe) not in known:
        nearest = difflib.get_close_matches(str(recipe), known, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise InputError(
            "recipe must be one of `rltemp recipes`, such as digits-short, or the path of a .yaml file; "
            f"got {str(recipe)[:80]!r}{hint}"
        )
    return (importlib.resources.files("rltemp.recipes") / f"{recipe}.yaml").read_text(encoding="utf-8")
