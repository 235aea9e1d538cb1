"""What a setting is worth is what its students reach on validation images, and on no others."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from rltemp import kd_loss
from rltemp.data import Dataset
from rltemp.distillation import DistillationRun, Task, score
from rltemp.distillation.policy_run import PolicyRun
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.experiments.tuning.validate import Validation, validate
from rltemp.recipes import Recipe, change_recipe
from rltemp.temperatures import Temperatures

SEEDS = (3, 8)


def found(task: Task, recipe: Recipe, policy: str = "static(temperature=2)", seeds: Any = SEEDS) -> Validation:
    return validate(TaskCache(lambda _: task), recipe, parse_policy(policy), seeds)


def reached(task: Task, run: DistillationRun) -> Validation:
    """Means over the students of a run, each asked for itself, with sums of Python."""
    images, targets = task.augmentation.clean(task.validation.images), task.validation.targets.tolist()
    right, losses = [], []
    for k in range(len(run.seeds)):
        logits = run.students.extract(k).eval()(images).detach().double()
        right += [row.argmax().item() == y for row, y in zip(logits, targets, strict=True)]
        losses += [-row.log_softmax(0)[y].item() for row, y in zip(logits, targets, strict=True)]
    return Validation(sum(right) / len(right), sum(losses) / len(losses))


def trained(task: Task, temperature: float) -> DistillationRun:
    run = DistillationRun(task, SEEDS)
    while not run.finished:
        observation = run.observe()
        count = observation.minibatch.targets.numel()
        run.update(Temperatures.shared(torch.full((count,), temperature)))
    return run


@pytest.mark.parametrize("stacked", [True, False])
def test_it_is_what_a_loop_by_hand_reaches(tiny_recipe: Recipe, tiny_task: Task, stacked: bool) -> None:
    task = dataclasses.replace(tiny_task, stacked=stacked)
    expected = reached(tiny_task, trained(tiny_task, 2.0))
    assert 0 < expected.accuracy < 1
    assert found(task, tiny_recipe) == pytest.approx(expected, rel=1e-4)


def test_a_rule_that_learns_is_trained_for_each_student(tiny_recipe: Recipe, tiny_task: Task) -> None:
    spec = parse_policy("ctkd(ramp=0.5)")
    whole = PolicyRun(tiny_task, [spec.make(seed) for seed in SEEDS], SEEDS, tiny_recipe.policy)
    while not whole.run.finished:
        whole.advance()
    assert found(tiny_task, tiny_recipe, "ctkd(ramp=0.5)") == pytest.approx(reached(tiny_task, whole.run), rel=1e-6)


def test_the_recipes_optimization_is_what_students_are_trained_with(tiny_recipe: Recipe, tiny_task: Task) -> None:
    recipe = change_recipe(tiny_recipe, {"optimization.lr": 0.2, "optimization.epochs": 2})
    task = dataclasses.replace(tiny_task, optimization=recipe.optimization)
    got = found(tiny_task, recipe)
    assert got == pytest.approx(reached(task, trained(task, 2.0)), rel=1e-6)
    assert got != found(tiny_task, tiny_recipe)


def test_no_test_image_is_seen(tiny_recipe: Recipe, tiny_task: Task) -> None:
    nothing = Dataset.__new__(Dataset)  # neither images nor labels: whoever reads them fails
    poisoned = dataclasses.replace(tiny_task, test=nothing)
    assert found(poisoned, tiny_recipe) == found(tiny_task, tiny_recipe)
    # The validation images are read.
    spoiled = dataclasses.replace(tiny_task, validation=nothing)
    with pytest.raises(AttributeError):
        found(spoiled, tiny_recipe)


@pytest.mark.parametrize("rule", ["static(temperature=2{})", "anneal(start=4, end=1{})", "dtkd(temperature=4{})"])
def test_the_weight_of_a_rule_is_the_recipes(tiny_recipe: Recipe, tiny_task: Task, rule: str) -> None:
    alone = rule.replace("{}", "")
    heavier = change_recipe(tiny_recipe, {"optimization.kd_weight": 3.5})
    weighted = found(tiny_task, tiny_recipe, rule.replace("{}", ", kd_weight=3.5"))
    assert weighted == found(tiny_task, heavier, alone)
    assert weighted.nll != found(tiny_task, tiny_recipe, alone).nll
    assert found(tiny_task, heavier, rule.replace("{}", ", kd_weight=0.9")) == found(tiny_task, tiny_recipe, alone)


def test_the_weight_multiplies_the_distillation_alone() -> None:
    spec, usual = parse_policy("static(temperature=2, kd_weight=3.5)"), parse_policy("static").loss
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 10, generator=generator) for _ in range(2))
    targets, temperatures = torch.arange(4), spec.make(0)(student, teacher)
    for name in ("preset(dkd)", "preset(dtkd)"):
        method = parse_policy(name).method
        assert method is not None
        assert usual(method) == method  # without a weight nothing is changed
        by = spec.loss(method).losses(student, teacher, targets, temperatures, 1.0)
        plain = method.losses(student, teacher, targets, temperatures, 1.0)
        kd = method.objective(student, teacher, targets, temperatures)
        torch.testing.assert_close(by - plain, (3.5 - method.kd_weight) * kd)
    torch.testing.assert_close(kd_loss(student, teacher, temperatures), kd)


def test_a_student_that_diverges_has_a_score_that_nobody_chooses(tiny_recipe: Recipe, tiny_task: Task) -> None:
    longer = change_recipe(tiny_recipe, {"optimization.epochs": 10, "optimization.ce_weight": 3.0})
    lost = found(tiny_task, change_recipe(longer, {"optimization.lr": 1e30}))
    assert lost.nll == math.inf
    assert lost.accuracy < 0.2 < found(tiny_task, longer).accuracy


def test_one_lost_student_costs_its_share_of_the_accuracy(
    tiny_recipe: Recipe, tiny_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_lost(*arguments: Any) -> Any:
        scores = score(*arguments)
        scores.accuracy[0], scores.nll[0] = 0.1, math.nan
        return scores

    alone = found(tiny_task, tiny_recipe, seeds=SEEDS[1:])
    monkeypatch.setattr("rltemp.experiments.tuning.validate.score", one_lost)
    together = found(tiny_task, tiny_recipe)
    assert together.accuracy == pytest.approx((0.1 + alone.accuracy) / 2)
    assert together.nll == math.inf
