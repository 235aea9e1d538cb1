"""`rltemp train`: a temperature policy from a recipe."""

from __future__ import annotations

from pathlib import Path

from rltemp.agents.training import train_policy
from rltemp.distillation import Task
from rltemp.experiments.console import progress
from rltemp.experiments.run_folder import RunFolder
from rltemp.experiments.setting import Setting, build
from rltemp.policies.artifact import save_policy
from rltemp.recipes import dump_recipe

__all__ = ["train"]


def train(setting: Setting, root: str, name: str, task: Task | None = None) -> Path:
    """Train a policy in `<root>/<recipe>/<name>/`, or go on where this run was interrupted.

    Args:
        setting: the recipe.
        root: folder of all runs.
        name: of this run.
        task: what the recipe builds, if it is at hand already.

    Returns:
        The policy's folder.

    Raises:
        InputError: if this run has finished, or was started with another recipe.
    """
    folder = RunFolder.start(root, setting.name, name, dump_recipe(setting.recipe))
    task = task or build(setting)
    with progress("policy", task.steps * setting.recipe.agent.rollouts) as display:
        policy = train_policy(setting.recipe, task=task, run_dir=folder.path, resume=True, progress=display)
    policy.card = {"recipe": setting.name, **policy.card}
    path = save_policy(policy, folder.path / "policy", overwrite=True)
    folder.finish()
    return path
