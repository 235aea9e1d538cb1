"""One policy on many students."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rltemp.checks import unchecked
from rltemp.distillation import Task, score
from rltemp.distillation.policy_run import Observer, PolicyRun
from rltemp.distillation.teacher import Answers
from rltemp.errors import DivergenceError
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

    A student that diverges ends the work of no other; its NLL is infinite where it is not a number, and there is no
    trace then.

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
    try:
        _finish(whole, progress, recorder)
        trace = recorder.trace()
    except DivergenceError:
        # No student meets another's numbers: the others go on as they are, and the comparison with them.
        with unchecked():
            _finish(whole, progress)
        trace = None
    test = score(whole.run.students, task.test, task.augmentation)
    validation = score(whole.run.students, task.validation, task.augmentation)
    return PolicyResult(
        name=spec.name,
        accuracy=test.accuracy.numpy(),
        nll=test.nll.nan_to_num(nan=torch.inf, posinf=torch.inf).numpy(),
        calibration_error=test.calibration_error.nan_to_num(nan=1.0).numpy(),
        validation_accuracy=validation.accuracy.numpy(),
        validation_nll=validation.nll.nan_to_num(nan=torch.inf, posinf=torch.inf).numpy(),
        trace=trace,
        label=spec.label,
        family=spec.family,
        group=spec.group,
    )


def _finish(whole: PolicyRun, progress: Progress, observer: Observer | None = None) -> None:
    while not whole.run.finished:
        whole.advance(observer)
        progress.advance()
