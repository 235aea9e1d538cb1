"""Selection of the rollout whose policy a training returns, by scores on validation data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rltemp.distillation import Task, clean_logits
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.distillation.teacher import Answers
from rltemp.envs.objective import objective_loss
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe

__all__ = ["validation_score"]

_STUDENTS = 32  # if they run stacked; otherwise as many as the agent trains with
_FIRST_SEED = 2**31  # beyond the seeds of episodes, so that a policy is scored on students it was not trained on


def validation_score(recipe: Recipe, tasks: Sequence[Task], ranks: Ranks = ALONE) -> Callable[[LearnedPolicy], float]:
    """Make a function that scores a policy by the validation loss of students trained with it; higher is better.

    The score is minus the mean loss of the validation images, by the agent's objective. All policies are scored on the
    same student seeds, shared out among the tasks, and on the same teacher logits, which are computed once.

    Args:
        recipe: the settings.
        tasks: the tasks that the agent trains on.
        ranks: processes that each train a share of the students, if it is the same for all of them.
    """
    students = _STUDENTS if tasks[0].stacked else recipe.agent.students
    seeds = range(_FIRST_SEED, _FIRST_SEED + max(1, students // len(tasks)))
    if len(seeds) % ranks.count:
        ranks = ALONE
    seeds = seeds[ranks.share("students", len(seeds))]
    teachers = [task.teacher.recorded() for task in tasks]

    def losses(policy: LearnedPolicy, task: Task, teacher: Answers) -> Tensor:
        whole = PolicyRun(task, [policy] * len(seeds), seeds, recipe.policy, teacher=teacher)
        while not whole.run.finished:
            whole.advance()
        logits = clean_logits(lambda x: whole.run.students.predict(x).logits, task.validation, task.augmentation)
        return objective_loss(recipe.agent.objective, logits, task.validation.labels).cpu()

    def judge(policy: LearnedPolicy) -> float:
        own = [losses(policy, *pair) for pair in zip(tasks, teachers, strict=True)]
        by_task = [torch.cat(parts) for parts in zip(*ranks.gather(lambda: own), strict=True)]
        return -sum(float(part.mean()) for part in by_task) / len(tasks)

    return judge
