"""`rltemp train`: a temperature policy from a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rltemp.agents.train import load_start, train_policy
from rltemp.distillation import Task, score
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.teacher import Answers
from rltemp.experiments.console import progress
from rltemp.experiments.named_recipe import NamedRecipe, build_all
from rltemp.experiments.run_folder import RunFolder
from rltemp.policies.artifact import save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, dump_recipe

__all__ = ["train", "validation_score"]

_STUDENTS = 32  # if they run side by side; else as many as learn
_FIRST_SEED = 2**31  # beyond what episodes draw, so that a policy is judged on students it did not learn from


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
    """
    load_start(setting.recipe)  # before a folder is made: a wrong one leaves nothing behind
    folder = RunFolder.start(root, setting.name, name, dump_recipe(setting.recipe))
    tasks = tasks or build_all(setting, root)
    with progress("policy", tasks[0].steps * setting.recipe.agent.rollouts) as display:
        policy = train_policy(
            setting.recipe,
            task=tasks,
            run_dir=folder.path,
            resume=True,
            progress=display,
            score=validation_score(setting.recipe, tasks),
        )
    policy.card = {"recipe": setting.name, **policy.card}
    path = save_policy(policy, folder.path / "policy", overwrite=True)
    folder.finish()
    return path


def validation_score(recipe: Recipe, tasks: Sequence[Task]) -> Callable[[LearnedPolicy], float]:
    """Judges a policy by the validation cross-entropy its students end with, negated: higher is better.

    The students, shared out among the tasks, are the same for every policy, and so is what the teachers say to them.
    """
    students = _STUDENTS if tasks[0].stacked else recipe.agent.students
    seeds = range(_FIRST_SEED, _FIRST_SEED + max(1, students // len(tasks)))
    teachers = [task.teacher.recorded() for task in tasks]

    def loss(policy: LearnedPolicy, task: Task, teacher: Answers) -> float:
        whole = PolicyRun(task, [policy] * len(seeds), seeds, recipe.policy, teacher=teacher)
        while not whole.run.finished:
            whole.advance()
        return float(score(whole.run.students, task.validation, task.augmentation).nll.mean())

    def judge(policy: LearnedPolicy) -> float:
        return -sum(loss(policy, *pair) for pair in zip(tasks, teachers, strict=True)) / len(tasks)

    return judge
