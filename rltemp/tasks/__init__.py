"""Building of a task from a recipe: image sources, splits, and teachers."""

from rltemp.tasks.build import build_steps, build_task, check_recipe

__all__ = ["build_steps", "build_task", "check_recipe"]
