"""Which rollout's policy a training keeps: chosen on validation data, by what its students end with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rltemp.distillation import Task, score
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.teacher import Answers
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe

__all__ = ["validation_score"]

_STUDENTS = 32  # if they run side by side; else as many as learn
_FIRST_SEED = 2**31  # beyond what episodes draw, so that a policy is judged on students it did not learn from


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
