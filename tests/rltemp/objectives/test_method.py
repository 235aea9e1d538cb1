"""The loss of a run: the same sum as the criterion that people put into their own loops."""

import pytest
import torch

from rltemp import DistillationLoss, Temperatures, make_policy, make_preset
from rltemp.objectives.method import Method
from rltemp.recipes.schema import Optimization

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(6, 5, generator=GENERATOR), 3.0 * torch.randn(6, 5, generator=GENERATOR)
TARGETS = torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.mark.parametrize("objective", ["kd", "dkd"])
def test_a_recipe_names_its_objective_and_weights(objective: str) -> None:
    settings = Optimization(objective=objective, ce_weight=0.3, kd_weight=0.6)  # type: ignore[arg-type]
    method = Method.of(settings)
    losses = method.losses(STUDENT, TEACHER, TARGETS, Temperatures.shared(torch.full((6,), 3.0)), 0.5)
    criterion = DistillationLoss(make_policy("static", temperature=3.0), method.objective, 0.3, 0.6)
    torch.testing.assert_close(losses.mean(), criterion(STUDENT, TEACHER, TARGETS, 0.5))


@pytest.mark.parametrize("name", ["dtkd", "dkd", "lskd", "wttm", "normkd-cifar"])
@pytest.mark.parametrize("progress", [0.0, 0.04, 1.0])
def test_a_preset_is_the_criterion_of_its_paper(name: str, progress: float) -> None:
    preset = make_preset(name)
    temperatures = make_policy(preset.policy, **preset.options)(STUDENT, TEACHER, TARGETS, progress)
    losses = preset.losses(STUDENT, TEACHER, TARGETS, temperatures, progress)
    torch.testing.assert_close(losses.mean(), preset.loss()(STUDENT, TEACHER, TARGETS, progress))
