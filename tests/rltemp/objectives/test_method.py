"""The loss of a run: the same sum as the criterion that people put into their own loops."""

import pytest
import torch

from rltemp import DistillationLoss, LearnedPolicy, LogitFeatures, Temperatures, make_policy, make_preset
from rltemp.objectives.method import Method
from rltemp.recipes.schema import Optimization
from rltemp.tokens import linear_distillation_loss

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


def test_a_label_weight_multiplies_the_cross_entropy_of_its_instance() -> None:
    """Against a loop in float64; and the criterion heeds what its policy says."""
    policy = LearnedPolicy(LogitFeatures(("teacher_confidence", "progress")), (), label_range=(0.25, 8.0))
    for parameter in policy.parameters():
        parameter.normal_(generator=torch.Generator().manual_seed(2))
    temperatures = policy(STUDENT, TEACHER, None, 0.5)
    assert temperatures.label_weight is not None
    assert len(set(temperatures.label_weight.tolist())) == 6
    method = Method(ce_weight=0.3, kd_weight=0.7)
    wanted = []
    for number, (student, teacher) in enumerate(zip(STUDENT.double(), TEACHER.double(), strict=True)):
        t, scale, weight = (float(temperatures.tensors[place][number]) for place in (0, 2, 3))
        p, q = (teacher / t).softmax(0), (student / t).softmax(0)
        kd, ce = scale * (p * (p / q).log()).sum(), -student.log_softmax(0)[TARGETS[number]]
        wanted.append(0.7 * kd + 0.3 * weight * ce)
    losses = method.losses(STUDENT, TEACHER, TARGETS, temperatures, 0.5)
    torch.testing.assert_close(losses.double(), torch.stack(wanted), rtol=1e-4, atol=1e-6)
    criterion = DistillationLoss(policy, ce_weight=0.3, kd_weight=0.7)
    torch.testing.assert_close(criterion(STUDENT, TEACHER, TARGETS, 0.5), losses.mean())
    hidden = STUDENT, torch.eye(5), TEACHER, torch.eye(5)
    torch.testing.assert_close(linear_distillation_loss(criterion, *hidden, TARGETS, 0.5, chunk=2), losses.mean())
