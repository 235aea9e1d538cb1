"""What an update costs is what passes through the networks of a real run."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rltemp import InputError, make_policy
from rltemp.checks import unchecked
from rltemp.distillation.policy_run import PolicyRun
from rltemp.experiments.evaluation.passes import Passes, count_passes
from rltemp.networks import Network
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import build_task

TINY: dict[str, Any] = {
    "data": {"train": 64, "validation": 50},
    "teacher": {"network": {"options": {"hidden": [8]}}, "members": 2, "epochs": 0},
    "student": {"options": {"hidden": [8]}},
    "optimization": {"epochs": 1, "batch_size": 8},
}
SEEDS = (3, 11)


class Counter:
    """Counts instances that pass through students and teacher of a whole run."""

    def __init__(self, recipe: Recipe, policy: str) -> None:
        self.forward = self.backward = self.teacher = 0
        built = build_task(recipe)

        def make_student(generator: torch.Generator) -> Network:
            student = built.make_student(generator)
            student.classifier.register_forward_hook(self._passed)
            return student

        task = dataclasses.replace(built, make_student=make_student, stacked=False)
        whole = PolicyRun(task, [make_policy(policy) for _ in SEEDS], SEEDS, recipe.policy)
        handle = task.teacher.network.register_forward_hook(self._answered)
        with unchecked():  # the check after the last update is no part of any update
            while not whole.run.finished:
                whole.advance()
        handle.remove()
        self.updates = len(SEEDS) * task.steps

    def _passed(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self.forward += len(inputs[0])
        if torch.is_grad_enabled() and output.requires_grad:
            output.register_hook(self._returned)

    def _returned(self, gradient: Tensor) -> None:
        self.backward += len(gradient)

    def _answered(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self.teacher += len(inputs[0])


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        ("static", {}),
        ("dtkd", {"data.views": 2}),
        ("static", {"data.shift": 0, "data.noise": 0}),
        ("influence", {"policy.alignment": "classifier", "policy.probe_size": 20}),
        ("influence", {"policy.alignment": "network", "policy.probe_size": 20}),
        ("influence", {"policy.alignment": "network", "policy.probe_size": 20, "policy.every": 3}),
        ("influence", {"policy.alignment": "network", "policy.probe_size": 1000, "policy.every": 100}),
        ("static", {"optimization.probe_weight": 0.5, "policy.probe_size": 20, "policy.every": 3}),
        ("influence", {"optimization.probe_weight": 0.5, "policy.probe_size": 20, "data.views": 1}),
    ],
)
def test_the_passes_are_those_of_a_run(policy: str, changes: dict[str, Any]) -> None:
    recipe = load_recipe("digits-short", {**TINY, **changes})
    passes, counted = count_passes(recipe, policy == "influence"), Counter(recipe, policy)
    # A derivative in forward mode is one pass of the network, with a derivative beside every number.
    forward = passes.student_forward + passes.probe_forward + passes.tangent / 2
    assert counted.forward / counted.updates == pytest.approx(forward)
    assert counted.backward / counted.updates == pytest.approx(passes.student_backward + passes.probe_backward)
    assert counted.teacher / counted.updates == pytest.approx(passes.teacher_forward)


def test_passes_by_hand() -> None:
    """Eight updates, of which the first, fourth and seventh draw 20 images."""
    changes = {"policy.alignment": "network", "policy.probe_size": 20, "policy.every": 3}
    recipe = load_recipe("digits-short", {**TINY, **changes})
    assert count_passes(recipe, True) == Passes(8.0, 8.0, 8.0, 7.5, 7.5, 16.0)
    assert count_passes(recipe, True).total == 55.0
    assert count_passes(recipe, True).overhead == pytest.approx(31 / 55)
    assert count_passes(recipe, False) == Passes(8.0, 8.0, 8.0, 0.0, 0.0, 0.0)
    assert count_passes(recipe, False).overhead == 0.0
    on_disk = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, in_memory=False, shift=0, noise=0.0))
    assert count_passes(on_disk, False).teacher_forward == 8.0


def test_an_alignment_that_there_is_not_has_no_passes() -> None:
    recipe = load_recipe("digits-short", {**TINY, "policy.alignment": "none"})
    with pytest.raises(InputError, match=r"policy.alignment must be .*, got 'none'"):
        count_passes(recipe, True)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Passes)])
def test_less_than_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be"):
        dataclasses.replace(Passes(1.0, 1.0, 1.0, 1.0, 1.0, 1.0), **{name: -1.0})
