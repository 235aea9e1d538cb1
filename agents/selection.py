"""Selection of the rollout whose policy a training returns, by scores on validation data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rltemp.checks import unchecked
from rltemp.distillation import Task, clean_logits
from rltemp.distillation.divergence import diverged
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.distillation.teacher import Answers
from rltemp.envs.objective import loss_of_lost, objective_loss
from rltemp.policies.learned import LearnedPolicy
from rltemp.policies.policy import TemperaturePolicy
from rltemp.recipes import Recipe

__all__ = ["FIRST_SEED", "validation_losses", "validation_score"]

_STUDENTS = 32  # if they run stacked; otherwise as many as the agent trains with
FIRST_SEED = 2**31
"""Beyond the seeds of episodes, so that a policy is scored on students it was not trained on."""


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
    seeds = range(FIRST_SEED, FIRST_SEED + max(1, students // len(tasks)))
    if len(seeds) % ranks.count:
        ranks = ALONE
    seeds = seeds[ranks.share("students", len(seeds))]
    teachers = [task.teacher.recorded() for task in tasks]

    def judge(policy: LearnedPolicy) -> float:
        own = [validation_losses(policy, recipe, *pair, seeds) for pair in zip(tasks, teachers, strict=True)]
        by_task = [torch.cat(parts) for parts in zip(*ranks.gather(lambda: own), strict=True)]
        return -sum(float(part.mean()) for part in by_task) / len(tasks)

    return judge


def validation_losses(
    policy: TemperaturePolicy, recipe: Recipe, task: Task, teacher: Answers, seeds: Sequence[int]
) -> Tensor:
    """Losses of the validation images, by the agent's objective, of students trained with a policy, [K] on the CPU.

    A student that diverges has the loss of one that is lost.

    Args:
        policy: chooses the temperatures.
        recipe: the settings.
        task: one of the recipe's.
        teacher: answers for the task's.
        seeds: one per student.
    """
    with unchecked():
        whole = PolicyRun(task, [policy] * len(seeds), seeds, recipe.policy, teacher=teacher)
        while not whole.run.finished:
            whole.advance()
    students, objective = whole.run.students, recipe.agent.objective
    logits = clean_logits(lambda x: students.predict(x).logits, task.validation, task.augmentation)
    losses = objective_loss(objective, logits, task.validation.labels)
    lost = diverged(logits, bounded=not students.normalizations())
    return losses.masked_fill(lost, loss_of_lost(objective, logits.shape[-1])).cpu()
