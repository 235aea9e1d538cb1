"""What every command does first: read the recipe, build its task with a display."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.recipes import Recipe, load_recipe, vary
from rltemp.tasks import build_task
from rltemp.tasks.build import build_steps, check_networks, check_recipe, settle_precision

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
    recipe: str,
    overrides: Mapping[str, Any],
    *,
    files: bool = True,
    allow_download: bool = False,
    allow_code: bool = False,
) -> NamedRecipe:
    """The recipe of this name or file, with overrides, checked before any work starts; `auto` precision is settled.

    Args:
        recipe: name or file.
        overrides: values by dotted name.
        files: whether data and checkpoints must be there.
        allow_download: as `check_recipe` takes it.
        allow_code: likewise.
    """
    asked = load_recipe(recipe, overrides)
    check = check_recipe if files else check_networks
    for variation in vary(asked):
        check(variation, allow_download=allow_download, allow_code=allow_code)
    return NamedRecipe(Path(recipe).stem, settle_precision(asked), allow_download, allow_code)


def build_all(setting: NamedRecipe, root: str | None = None, ranks: Ranks = ALONE) -> list[Task]:
    """What the agent of a recipe trains on: its task, and those of the agent's variations; see `build`."""
    return [build(dataclasses.replace(setting, recipe=recipe), root, ranks) for recipe in vary(setting.recipe)]


def build(setting: NamedRecipe, root: str | None = None, ranks: Ranks = ALONE) -> Task:
    """Load the data and train the teacher, on display.

    Args:
        setting: the recipe.
        root: folder of all runs, which also keeps the teachers; None keeps none.
        ranks: processes that want the same task: the first trains the teacher, and all have its weights.
    """
    task = ranks.in_turn(lambda: _build(setting, root, ranks))
    ranks.equalize(task.teacher.tensors())
    return task


def _build(setting: NamedRecipe, root: str | None, ranks: Ranks) -> Task:
    recipe = setting.recipe
    if recipe.student.name == recipe.teacher.network.name == "mlp":
        # So small that they are done before a second thread has woken up; on shared cores waiting for it costs tenfold.
        torch.set_num_threads(1)
    with progress("teacher", max(1, build_steps(recipe)), shown=ranks.is_first) as display:
        return build_task(
            recipe,
            device=ranks.device,
            advance=display.advance,
            cache=root,
            allow_download=setting.allow_download,
            allow_code=setting.allow_code,
        )
