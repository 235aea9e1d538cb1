"""What every command does first: read the recipe, build its task with a display."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.recipes import Recipe, load_recipe, vary
from rltemp.tasks import build_task
from rltemp.tasks.build import build_steps, check_recipe, settle_precision

__all__ = ["NamedRecipe", "build", "build_all", "read"]


@dataclasses.dataclass(frozen=True)
class NamedRecipe:
    """A recipe and what it is called; runs go into a folder of that name.

    Attributes:
        name: of the folder.
        recipe: the setting.
        allow_download: whether what the recipe names may be fetched from the network, as `check_recipe` takes it.
        allow_code: whether a module that the recipe names may be imported, likewise.
    """

    name: str
    recipe: Recipe
    allow_download: bool = False
    allow_code: bool = False


def read(
    recipe: str, overrides: Mapping[str, Any], *, allow_download: bool = False, allow_code: bool = False
) -> NamedRecipe:
    """The recipe of this name or file, with overrides, checked before any work starts; `auto` precision is settled."""
    asked = load_recipe(recipe, overrides)
    for variation in vary(asked):
        check_recipe(variation, allow_download=allow_download, allow_code=allow_code)
    return NamedRecipe(Path(recipe).stem, settle_precision(asked), allow_download, allow_code)


def build_all(setting: NamedRecipe, root: str | None = None) -> list[Task]:
    """What the agent of a recipe trains on: its task, and those of the agent's variations; see `build`."""
    return [build(dataclasses.replace(setting, recipe=recipe), root) for recipe in vary(setting.recipe)]


def build(setting: NamedRecipe, root: str | None = None) -> Task:
    """Load the data and train the teacher, on display.

    Args:
        setting: the recipe.
        root: folder of all runs, which also keeps the teachers; None keeps none.
    """
    recipe = setting.recipe
    if recipe.student.name == recipe.teacher.network.name == "mlp":
        # So small that they are done before a second thread has woken up; on shared cores waiting for it costs tenfold.
        torch.set_num_threads(1)
    with progress("teacher", max(1, build_steps(recipe))) as display:
        return build_task(
            recipe,
            advance=display.advance,
            cache=root,
            allow_download=setting.allow_download,
            allow_code=setting.allow_code,
        )
