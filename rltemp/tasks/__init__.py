"""From a recipe to a task: where images come from, how they are split, who teaches."""

from rltemp.tasks.build import build_steps, build_task, check_recipe

__all__ = ["build_steps", "build_task", "check_recipe"]
