"""Networks beyond all use are found, whichever of the students it is, and the others do not suffer."""

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F

from rltemp.checks import unchecked
from rltemp.distillation import DistillationRun, Task, score
from rltemp.distillation.divergence import first_diverged, is_due
from rltemp.errors import DivergenceError
from rltemp.networks import Network
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures

TARGETS = torch.tensor([[0, 1], [1, 1], [0, 2]])


def test_useful_logits_pass() -> None:
    assert first_diverged(100.0 * torch.randn(3, 2, 3, generator=make_generator(0)), TARGETS) is None


@pytest.mark.parametrize("student", [0, 1, 2])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e6, 1e30])
def test_the_first_that_left_the_range_is_found(student: int, value: float) -> None:
    logits = torch.randn(3, 2, 3, generator=make_generator(0))
    logits[student:, 0, 1] = value
    found = first_diverged(logits, TARGETS)
    assert found is not None
    assert found[0] == student
    assert found[1] == pytest.approx(float(F.cross_entropy(logits[student], TARGETS[student])), nan_ok=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_unbounded_only_what_is_not_finite_is_found(value: float) -> None:
    logits = torch.full((2, 2, 3), 1e6)
    assert first_diverged(logits, TARGETS[:2], bounded=False) is None
    logits[1, 0, 0] = value
    found = first_diverged(logits, TARGETS[:2], bounded=False)
    assert found is not None
    assert found[0] == 1


def test_an_accelerator_is_asked_now_and_then() -> None:
    logits = torch.zeros(1, 2, 3)
    assert all(is_due(logits, step) for step in range(200))
    assert [step for step in range(200) if is_due(logits.to("meta"), step)] == [49, 99, 149, 199]
    with unchecked():
        assert not any(is_due(part, 49) for part in (logits, logits.to("meta")))


def _with_one_lost(task: Task, seed: int, value: float) -> Task:
    """The student of `seed` starts with a weight that spoils it."""
    lost = make_generator(seed, "student").initial_seed()

    def make_student(generator: torch.Generator) -> Network:
        student = task.make_student(generator)
        if generator.initial_seed() == lost:
            with torch.no_grad():
                student.classifier.bias.fill_(value)
        return student

    return dataclasses.replace(task, make_student=make_student)


def _finish(task: Task, seeds: Sequence[int]) -> DistillationRun:
    run = DistillationRun(task, seeds)
    while not run.finished:
        run.update(Temperatures.shared(torch.full((8 * len(seeds),), 4.0)))
    return run


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("value", [math.nan, 1e6])
def test_a_run_names_the_student(tiny_task: Task, stacked: bool, value: float) -> None:
    task = _with_one_lost(dataclasses.replace(tiny_task, stacked=stacked), 11, value)
    with pytest.raises(DivergenceError, match=r"student 1 diverged at update 0 \(loss .*\): lower optimization.lr"):
        DistillationRun(task, (3, 11, 4)).observe()


@pytest.mark.parametrize("stacked", [True, False])
def test_unchecked_the_others_go_on_as_they_would_without_it(tiny_task: Task, stacked: bool) -> None:
    task = dataclasses.replace(tiny_task, stacked=stacked)
    with unchecked():
        together = _finish(_with_one_lost(task, 11, math.nan), (3, 11, 4))
    without = score(_finish(task, (3, 4)).students, task.test)
    scores = score(together.students, task.test)
    assert math.isnan(float(scores.nll[1]))
    torch.testing.assert_close(scores.nll[[0, 2]], without.nll, rtol=1e-5, atol=1e-6)


def test_the_last_update_is_looked_at_too(tiny_task: Task) -> None:
    run = DistillationRun(tiny_task, (3, 11))
    hot = Temperatures.shared(torch.full((16,), 4.0))
    while run.step < tiny_task.steps - 1:
        run.update(hot)
    with pytest.raises(DivergenceError, match="student 0 diverged at update 8"):
        run.update(Temperatures(hot.teacher, hot.student, torch.full((16,), 1e30)))
