"""Recipes: complete settings of an experiment as YAML files, read into typed values."""

from rltemp.recipes.loading import change_recipe, dump_recipe, list_recipes, load_recipe, vary
from rltemp.recipes.schema import Recipe

__all__ = ["Recipe", "change_recipe", "dump_recipe", "list_recipes", "load_recipe", "vary"]
