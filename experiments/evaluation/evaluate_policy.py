"""One policy on many students."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rltemp.checks import unchecked
from rltemp.distillation import Task, clean_logits, fidelity, score, score_logits
from rltemp.distillation.policy_run import Observer, PolicyRun
from rltemp.distillation.teacher import Answers
from rltemp.distillation.training_images import index_orders
from rltemp.errors import DivergenceError, first_line
from rltemp.experiments.evaluation.results import FloatArray, PolicyResult
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.experiments.evaluation.trace import TraceRecorder
from rltemp.progress import Progress
from rltemp.recipes import Recipe

if TYPE_CHECKING:
    from rltemp.agents import OnlineRun
    from rltemp.experiments.evaluation.agent_specs import AgentSpec

__all__ = ["evaluate_policy"]


def evaluate_policy(
    recipe: Recipe,
    task: Task,
    spec: PolicySpec | AgentSpec,
    seeds: Sequence[int],
    teacher: Answers,
    progress: Progress,
) -> PolicyResult:
    """Distill one student per seed under a policy, side by side, and score their last epoch.

    A student that diverges ends the work of no other; its NLL and its divergence from the teacher are infinite where
    they are not a number. There is no trace then, but `trouble` says when it was. There is none of a method without
    distillation either, whose temperatures have no effect.

    Args:
        recipe: the setting; `recipe.policy` says what probe an aligned policy gets.
        task: what the recipe builds.
        spec: the policy, or an agent that learns in the run of one student.
        seeds: of the students.
        teacher: answers for the task's.
        progress: advances by one per update of all students.
    """
    whole = spec.start(task, seeds, recipe.policy, teacher)
    recorder = TraceRecorder(task.steps, _mislabelled(task, seeds)) if whole.run.method.kd_weight > 0.0 else None
    trouble = ""
    try:
        _finish(whole, progress, recorder)
        trace = recorder.trace() if recorder is not None else None
    except DivergenceError as error:
        # Its number counts the students that run side by side here, which need not be all of them.
        trouble = re.sub(r"^student \d+", "a student", first_line(error))
        # No student meets another's numbers: the others go on as they are, and the comparison with them. An agent that
        # diverged itself cannot: its student stays as it is.
        with unchecked(), suppress(DivergenceError):
            _finish(whole, progress)
        trace = None
    students = whole.run.students
    logits = clean_logits(lambda images: students.predict(images).logits, task.test, task.augmentation)
    test, following = score_logits(logits, task.test.labels), fidelity(logits, task.teacher_test_logits)
    validation = score(students, task.validation, task.augmentation)
    return PolicyResult(
        name=spec.name,
        accuracy=test.accuracy.numpy(),
        nll=_or_infinite(test.nll),
        calibration_error=test.calibration_error.nan_to_num(nan=1.0).numpy(),
        validation_accuracy=validation.accuracy.numpy(),
        validation_nll=_or_infinite(validation.nll),
        agreement=following.agreement.numpy(),
        divergence=_or_infinite(following.divergence),
        trace=trace,
        label=spec.label,
        family=spec.family,
        group=spec.group,
        trouble=trouble,
    )


def _mislabelled(task: Task, seeds: Sequence[int]) -> Iterator[Tensor] | None:
    """For every update, which labels of the students' minibatches were replaced, [K, B]; None if none were."""
    if (replaced := task.replaced) is None:
        return None
    # A minibatch does not know which images it holds; its order, which is the seed's alone, does.
    orders = index_orders(len(task.training), seeds, task.optimization.batch_size)
    return (replaced[torch.stack([order.take() for order in orders])].flatten(1) for _ in range(task.steps))


def _or_infinite(values: Tensor) -> FloatArray:
    array: FloatArray = values.nan_to_num(nan=torch.inf, posinf=torch.inf).numpy()
    return array


def _finish(whole: PolicyRun | OnlineRun, progress: Progress, observer: Observer | None = None) -> None:
    while not whole.run.finished:
        whole.advance(observer)
        progress.advance()
