"""What every command does first: read the recipe, build its task with a display."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltemp.distillation import Task, build_task
from rltemp.experiments.console import progress
from rltemp.recipes import Recipe, load_recipe

__all__ = ["Setting", "build", "read"]


@dataclasses.dataclass(frozen=True)
class Setting:
    """A recipe and what it is called; runs go into a folder of that name."""

    name: str
    recipe: Recipe


def read(recipe: str, overrides: Mapping[str, Any]) -> Setting:
    """The recipe of this name or file, with overrides."""
    return Setting(Path(recipe).stem, load_recipe(recipe, overrides))


def build(setting: Setting) -> Task:
    """Load the data and train the teacher, on display."""
    recipe = setting.recipe
    updates = recipe.teacher.epochs * max(1, recipe.data.train // recipe.teacher.batch_size)
    with progress("teacher", updates) as display:
        return build_task(recipe, advance=display.advance)
