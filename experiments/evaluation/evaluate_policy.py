"""One policy on many students."""

from __future__ import annotations

from collections.abc import Sequence

from rltemp.distillation import Task, score
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.teacher import Answers
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.evaluation.trace import TraceRecorder
from rltemp.progress import Progress
from rltemp.recipes import Recipe

__all__ = ["evaluate_policy"]


def evaluate_policy(
    recipe: Recipe,
    task: Task,
    spec: PolicySpec,
    seeds: Sequence[int],
    teacher: Answers,
    progress: Progress,
) -> PolicyResult:
    """Distill one student per seed under a policy, side by side, and score their last epoch.

    Args:
        recipe: the setting; `recipe.policy` says what probe an aligned policy gets.
        task: what the recipe builds.
        spec: the policy.
        seeds: of the students.
        teacher: answers for the task's.
        progress: advances by one per update of all students.
    """
    policies = [spec.make(seed) for seed in seeds]
    whole = PolicyRun(task, policies, seeds, recipe.policy, teacher=teacher, method=spec.method)
    recorder = TraceRecorder(task.steps)
    while not whole.run.finished:
        whole.advance(recorder)
        progress.advance()
    test = score(whole.run.students, task.test, task.augmentation)
    validation = score(whole.run.students, task.validation, task.augmentation)
    return PolicyResult(
        name=spec.name,
        accuracy=test.accuracy.numpy(),
        nll=test.nll.numpy(),
        calibration_error=test.calibration_error.numpy(),
        validation_accuracy=validation.accuracy.numpy(),
        validation_nll=validation.nll.numpy(),
        trace=recorder.trace(),
        label=spec.label,
        family=spec.family,
        group=spec.group,
    )
