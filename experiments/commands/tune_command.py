"""`rltemp tune`: a recipe and its references, searched on validation data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from rltemp.display import progress
from rltemp.experiments.evaluation.measure import measure_of, to_bits
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.experiments.named_recipe import NamedRecipe, build
from rltemp.experiments.run_folder import RunFolder
from rltemp.experiments.tuning.search import Found, best_static, search
from rltemp.experiments.tuning.spaces import SCHEDULE, STATIC, find_space
from rltemp.experiments.tuning.validate import validate
from rltemp.files import atomic_write
from rltemp.recipes import Recipe, change_recipe, dump_recipe

__all__ = ["tune"]

_JOURNAL = "trials.journal"
_SEED = 0


def tune(setting: NamedRecipe, trials: int, students: int, root: str, name: str) -> Path:
    """Search a recipe with a static temperature, then in the best one a static temperature and a schedule.

    Everything is chosen on validation data. What was tried is in `<root>/<recipe>/<name>/trials.journal`, a file of
    Optuna's; an interrupted search goes on there.

    Args:
        setting: the recipe.
        trials: settings tried in each of the three searches.
        students: per setting, the same in all.
        root: folder of all runs.
        name: of this run.

    Returns:
        The tuned recipe with its references, which `rltemp evaluate` uses.

    Raises:
        InputError: if this run has finished, or was started with another recipe, trials or students.
    """
    config = f"{dump_recipe(setting.recipe, agent=False)}# trials: {trials}\n# students: {students}\n"
    folder = RunFolder.start(root, setting.name, name, config)
    tasks = TaskCache(lambda recipe: build(dataclasses.replace(setting, recipe=recipe), root))
    with folder.measuring():
        # With and without augmentation, before there is a display that theirs would disturb.
        space = find_space("recipe", setting.recipe)
        for start in space.starts:
            tasks.task(change_recipe(setting.recipe, space.changes(start)))
    torch.set_num_threads(1)

    measure = measure_of(setting.recipe)

    def find(recipe: Recipe, name: str, advance: Callable[[], None]) -> Found:
        return search(
            find_space(name, recipe),
            trials,
            _SEED,
            folder.path / _JOURNAL,
            lambda policy, changes: validate(
                tasks, change_recipe(recipe, changes), parse_policy(policy), range(students)
            ),
            advance,
            measure,
        )

    with progress("settings", 3 * trials) as display:
        recipe = find(setting.recipe, "recipe", display.advance)
        tuned = change_recipe(setting.recipe, recipe.best.changes)
        static, schedule = (find(tuned, name, display.advance) for name in (STATIC.name, SCHEDULE.name))
    found = {STATIC.name: best_static(static, recipe), SCHEDULE.name: schedule.best}
    references = {
        "references.policies": [best.policy for best in found.values()],
        # The recipe's own search had a static temperature as well.
        "references.runs": 2 * trials * students,
    }
    path = folder.path / f"{setting.name}-tuned.yaml"
    atomic_write(path, dump_recipe(change_recipe(tuned, references)))
    folder.finish()
    for kind, best in found.items():
        scored = f"{100 * best.accuracy:.2f} % of the validation images"
        if measure == "bits":
            scored = f"{to_bits(best.nll):.3f} bits per character of the validation text"
        print(f"{kind}: {best.policy}, {scored}")
    return path
