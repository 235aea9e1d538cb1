"""Building of a task from a recipe: image sources, splits, and teachers."""

from rltemp.tasks.build import build_steps, build_task, check_recipe
from rltemp.tasks.prepared import cache_folder, prepare_task
from rltemp.tasks.sources import Source, SourceLoader, list_sources, register_source

__all__ = [
    "Source",
    "SourceLoader",
    "build_steps",
    "build_task",
    "cache_folder",
    "check_recipe",
    "list_sources",
    "prepare_task",
    "register_source",
]
