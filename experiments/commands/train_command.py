"""`rltemp train`: a temperature policy from a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rltemp.agents.train import load_start, train_policy
from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.run_folder import RunFolder
from rltemp.policies.artifact import save_policy
from rltemp.recipes import dump_recipe

__all__ = ["train"]


def train(setting: NamedRecipe, root: str, name: str, tasks: Sequence[Task] | None = None) -> Path:
    """Train a policy in `<root>/<recipe>/<name>/`, or go on where this run was interrupted.

    Args:
        setting: the recipe.
        root: folder of all runs.
        name: of this run.
        tasks: what the recipe and its variations build, if they are at hand already.

    Returns:
        The policy's folder.

    Raises:
        InputError: if this run has finished, or was started with another recipe.
        DivergenceError: for a teacher, a student or an agent that diverges; what was measured before is kept.
    """
    load_start(setting.recipe)  # before a folder is made: a wrong one leaves nothing behind
    folder = RunFolder.start(root, setting.name, name, dump_recipe(setting.recipe))
    with folder.measuring():
        tasks = tasks or build_all(setting, root)
        with progress("policy", tasks[0].steps * setting.recipe.agent.rollouts) as display:
            policy = train_policy(
                setting.recipe,
                task=tasks,
                run_dir=folder.path,
                resume=True,
                progress=display,
            )
    policy.card = {"recipe": setting.name, **policy.card}
    path = save_policy(policy, folder.path / "policy", overwrite=True)
    folder.finish()
    return path
