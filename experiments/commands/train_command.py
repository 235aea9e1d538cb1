"""`rltemp train`: a temperature policy from a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from rltemp.agents.callbacks import RolloutCallback
from rltemp.agents.train import load_start, train_policy
from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.envs.contract import StudentVectorEnv
from rltemp.envs.split import SplitVectorEnv
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.run_folder import RunFolder
from rltemp.policies.artifact import save_policy
from rltemp.progress import Progress
from rltemp.recipes import dump_recipe

__all__ = ["train", "updates"]


def train(
    setting: NamedRecipe,
    root: str,
    name: str,
    tasks: Sequence[Task] | None = None,
    *,
    display: Progress | None = None,
    callbacks: Sequence[RolloutCallback] = (),
    make_env: Callable[..., StudentVectorEnv] = SplitVectorEnv,
) -> Path:
    """Train a policy in `<root>/<recipe>/<name>/`, or go on where this run was interrupted.

    Args:
        setting: the recipe.
        root: folder of all runs.
        name: of this run.
        tasks: what the recipe and its variations build, if they are at hand already.
        display: advances with every update; by default one of its own.
        callbacks: called after every rollout.
        make_env: as of `train_policy`.

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
        with nullcontext(display) if display else progress("policy", updates(setting, tasks)) as shown:
            policy = train_policy(
                setting.recipe,
                task=tasks,
                run_dir=folder.path,
                resume=True,
                progress=shown,
                callbacks=callbacks,
                make_env=make_env,
            )
    policy.card = {"recipe": setting.name, **policy.card}
    path = save_policy(policy, folder.path / "policy", overwrite=True)
    folder.finish()
    return path


def updates(setting: NamedRecipe, tasks: Sequence[Task]) -> int:
    """Updates that a whole training makes of each student."""
    return tasks[0].steps * setting.recipe.agent.rollouts
