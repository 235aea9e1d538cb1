"""A recipe's task for somebody at a keyboard: its teacher is kept for the next time, and its making is shown."""

from __future__ import annotations

import os
from pathlib import Path

from rltemp.display import progress
from rltemp.distillation.task import Task
from rltemp.recipes.schema import Recipe
from rltemp.tasks.build import build_steps, build_task

__all__ = ["cache_folder", "prepare_task"]

_VARIABLE = "RLTEMP_CACHE"


def prepare_task(recipe: Recipe) -> Task:
    """Build the task of a recipe, with its teacher from the cache if it was trained before, and a bar on a terminal.

    Raises:
        InputError: as `build_task`.
    """
    with progress("teacher", max(1, build_steps(recipe)), lines=False) as display:
        return build_task(recipe, advance=display.advance, cache=cache_folder())


def cache_folder() -> Path | None:
    """Where teachers are kept: $RLTEMP_CACHE, or rltemp in the user's cache folder; None if nobody may write there."""
    named = os.environ.get(_VARIABLE)
    folder = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "rltemp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
