"""A policy that reads held-out labels is caught, one that does not is not, and no label stays false."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rltemp.data import Dataset
from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.experiments.arena.placebo import reads_held_out_labels
from rltemp.experiments.evaluation.specs import PolicySpec, parse_policy, trained_policy
from rltemp.features import LogitFeatures
from rltemp.policies import TemperaturePolicy
from rltemp.policies.artifact import save_policy
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, change_recipe
from rltemp.tasks import build_task
from rltemp.temperatures import Temperatures

Part = Callable[[Task], Dataset]
PARTS: dict[str, Part] = {"validation": lambda task: task.validation, "test": lambda task: task.test}


class Cheat(TemperaturePolicy):
    """Lets the temperatures depend on labels in the least way there is, or on their number alone."""

    def __init__(self, labels: Tensor, *, counts: bool = False) -> None:
        super().__init__()
        self.labels = labels
        self.counts = counts

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        read = len(self.labels) if self.counts else int(self.labels[-1])
        return Temperatures.shared(torch.full((len(student_logits),), 1.0 + 0.01 * read))


def spec(make: Callable[[int], TemperaturePolicy]) -> PolicySpec:
    return PolicySpec("made here", "made here", "rule", make)


@pytest.fixture
def task(tiny_task: Task) -> Task:
    """With labels that a test may spoil."""
    validation, test = (
        dataclasses.replace(part, targets=part.targets.clone()) for part in (tiny_task.validation, tiny_task.test)
    )
    return dataclasses.replace(tiny_task, validation=validation, test=test)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_one_label_of_those_held_out_is_enough(tiny_recipe: Recipe, task: Task, part: Part, stacked: bool) -> None:
    task = dataclasses.replace(task, stacked=stacked)
    before = {name: get(task).targets.clone() for name, get in PARTS.items()}
    assert reads_held_out_labels(tiny_recipe, task, spec(lambda seed: Cheat(part(task).targets)))
    assert not reads_held_out_labels(tiny_recipe, task, spec(lambda seed: Cheat(part(task).targets, counts=True)))
    for name, get in PARTS.items():
        assert torch.equal(get(task).targets, before[name])


def test_weights_may_lie_in_memory_as_they_like(tiny_recipe: Recipe) -> None:
    student = {"name": "cnn", "options": {"channels": [4, 4]}}
    recipe = change_recipe(tiny_recipe, {"student": student, "execution.channels_last": True})
    task = build_task(recipe)
    assert not reads_held_out_labels(recipe, task, parse_policy("static"))
    assert reads_held_out_labels(recipe, task, spec(lambda seed: Cheat(task.test.targets)))


def test_labels_are_found_however_the_task_was_varied(tiny_recipe: Recipe, task: Task) -> None:
    longer = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, epochs=2))
    assert reads_held_out_labels(tiny_recipe, longer, spec(lambda seed: Cheat(task.validation.targets)))


def test_a_policy_that_looks_after_a_while_is_caught_while_it_is_watched(tiny_recipe: Recipe, task: Task) -> None:
    class Late(Cheat):
        def choose(self, student_logits: Tensor, *others: object) -> Temperatures:
            chosen = super().choose(student_logits, *others)  # type: ignore[arg-type]
            late = float(others[2]) > 0.8  # type: ignore[arg-type]
            return chosen if late else Temperatures.shared(torch.ones(len(student_logits)))

    assert reads_held_out_labels(tiny_recipe, task, spec(lambda seed: Late(task.test.targets)))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cheat_of_one_student_is_caught(tiny_recipe: Recipe, task: Task, seed: int) -> None:
    honest = Cheat(torch.zeros(1, dtype=torch.int64))
    honest.over_batch = True  # so that each student asks its own

    def make(number: int) -> TemperaturePolicy:
        policy = Cheat(task.test.targets) if number == seed else Cheat(honest.labels)
        policy.over_batch = True
        return policy

    assert reads_held_out_labels(tiny_recipe, task, spec(make))


@pytest.mark.parametrize(
    "policy",
    [
        "static(temperature=2)",
        "anneal",
        "random",
        "ctkd",
        "ctkd-instance",
        "dtkd",
        "lskd",
        "wttm",
        "adakd",
        "influence",
        "no-kd",
    ],
)
def test_rules_are_not_accused(tiny_recipe: Recipe, task: Task, policy: str) -> None:
    assert not reads_held_out_labels(tiny_recipe, task, parse_policy(policy))


@pytest.mark.parametrize("name", ["rltemp/digits", "rltemp/digits-softness", "rltemp/digits-logits"])
def test_trained_policies_are_not_accused(tiny_recipe: Recipe, task: Task, name: str) -> None:
    assert not reads_held_out_labels(tiny_recipe, task, trained_policy(name))


def test_a_student_that_diverges_is_no_cheat(
    tiny_recipe: Recipe, task: Task, tmp_path_factory: pytest.TempPathFactory
) -> None:
    policy = LearnedPolicy(LogitFeatures(("progress",)), (4,), low=1e-3, high=1e6, scale=1e6)
    path = save_policy(policy, tmp_path_factory.mktemp("policies") / "hot")
    fast = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, lr=1e6))
    assert not reads_held_out_labels(tiny_recipe, fast, trained_policy(str(path)))


def test_labels_are_restored_whatever_is_raised(
    tiny_recipe: Recipe, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: get(task).targets.clone() for name, get in PARTS.items()}
    seen: list[dict[str, Tensor]] = []
    advance = PolicyRun.advance

    def failing(self: PolicyRun) -> None:
        seen.append({name: get(task).targets.clone() for name, get in PARTS.items()})
        if len(seen) == task.steps + 3:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(PolicyRun, "advance", failing)
    with pytest.raises(KeyboardInterrupt):
        reads_held_out_labels(tiny_recipe, task, parse_policy("static(temperature=2)"))
    for name, get in PARTS.items():
        assert torch.equal(get(task).targets, before[name])
        # The true ones in the first run; in the second none of them, but classes all the same.
        assert torch.equal(seen[0][name], before[name])
        assert not (seen[-1][name] == before[name]).any()
        assert set(seen[-1][name].tolist()) <= set(range(10))
