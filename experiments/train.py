"""`rltemp train`: a temperature policy from a recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rltemp.agents.training import train_policy
from rltemp.distillation import Task, TeacherRecord, score
from rltemp.distillation.loop import PolicyRun
from rltemp.experiments.console import progress
from rltemp.experiments.run_folder import RunFolder
from rltemp.experiments.setting import Setting, build
from rltemp.policies.artifact import save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, dump_recipe

__all__ = ["train", "validation_score"]

_STUDENTS = 32
_FIRST_SEED = 2**31  # beyond what episodes draw, so that a policy is judged on students it did not learn from


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
    task = task or build(setting, root)
    with progress("policy", task.steps * setting.recipe.agent.rollouts) as display:
        policy = train_policy(
            setting.recipe,
            task=task,
            run_dir=folder.path,
            resume=True,
            progress=display,
            score=validation_score(setting.recipe, task),
        )
    policy.card = {"recipe": setting.name, **policy.card}
    path = save_policy(policy, folder.path / "policy", overwrite=True)
    folder.finish()
    return path


def validation_score(recipe: Recipe, task: Task) -> Callable[[LearnedPolicy], float]:
    """Judges a policy by the validation cross-entropy its students end with, negated: higher is better.

    The students are the same for every policy, and so is what the teacher says to them.
    """
    record = TeacherRecord(task.ask_teacher)
    seeds = range(_FIRST_SEED, _FIRST_SEED + _STUDENTS)

    def judge(policy: LearnedPolicy) -> float:
        whole = PolicyRun(task, [policy] * _STUDENTS, seeds, recipe.policy, teacher_logits=record)
        while not whole.run.finished:
            whole.advance()
        return -float(score(whole.run.students, task.validation, task.augmentation).nll.mean())

    return judge
