"""`rltemp train`: a temperature policy from a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rltemp.agents.train import load_start, train_policy
from rltemp.display import progress
from rltemp.distillation import Task
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.run_folder import RunFolder
from rltemp.policies.artifact import save_policy
from rltemp.recipes import dump_recipe

__all__ = ["train"]


def train(
    setting: NamedRecipe, root: str, name: str, tasks: Sequence[Task] | None = None, ranks: Ranks = ALONE
) -> Path:
    """Train a policy in `<root>/<recipe>/<name>/`, or go on where this run was interrupted.

    Args:
        setting: the recipe.
        root: folder of all runs.
        name: of this run.
        tasks: what the recipe and its variations build, if they are at hand already.
        ranks: processes that train this policy together, each a share of the students; the first one writes.

    Returns:
        The policy's folder.

    Raises:
        InputError: if this run has finished, or was started with another recipe; for a number of students that the
            processes cannot share equally.
        DivergenceError: for a teacher, a student or an agent that diverges; what was measured before is kept.
    """
    load_start(setting.recipe)  # before a folder is made: a wrong one leaves nothing behind
    ranks.share("agent.students", setting.recipe.agent.students)
    config = dump_recipe(setting.recipe)
    folder = ranks.agree(lambda: RunFolder.start(root, setting.name, name, config) if ranks.is_first else None)
    path = Path(root) / setting.name / name
    with folder.measuring() if folder is not None else nullcontext():
        tasks = tasks or build_all(setting, root, ranks)
        steps = tasks[0].steps * setting.recipe.agent.rollouts
        with progress("policy", steps, shown=ranks.is_first) as display:
            policy = train_policy(
                setting.recipe,
                task=tasks,
                run_dir=path,
                resume=True,
                progress=display,
                ranks=ranks,
            )
    if folder is not None:
        policy.card = {"recipe": setting.name, **policy.card}
        save_policy(policy, path / "policy", overwrite=True)
        folder.finish()
    return path / "policy"
