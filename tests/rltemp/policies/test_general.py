"""The policies for tasks nobody trained on do what their page says of them."""

import pytest
import torch
from torch import Tensor

import rltemp
from rltemp.recipes import load_recipe

TARGETS = torch.arange(64) % 10


def _logits(accuracy: float, sureness: float, seed: int) -> Tensor:
    """Of a network that is right that often, and by so much sure of what it says."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(64, 10, generator=generator)
    right = torch.rand(64, generator=generator) < accuracy
    logits[torch.arange(64), torch.where(right, TARGETS, (TARGETS + 3) % 10)] += sureness
    return logits


def _geometric(values: Tensor) -> float:
    return float(values.log().mean().exp())


def _weight_of_the_label(teacher: Tensor) -> float:
    """How much the label of an instance that the teacher gets wrong counts beside the teacher, halfway."""
    policy, student = rltemp.make_policy("general"), _logits(0.6, 2.0, 2)
    chosen, wrong = policy(student, teacher, TARGETS, 0.5), teacher.argmax(1) != TARGETS
    assert chosen.label_weight is not None
    return _geometric((chosen.label_weight / chosen.scale * chosen.teacher)[wrong])


@pytest.mark.parametrize(("name", "numbers"), [("general", 90), ("general-kd", 56)])
def test_they_are_those_of_the_package_and_small(name: str, numbers: int) -> None:
    policy, loaded = rltemp.make_policy(name), rltemp.load_policy(f"rltemp/{name}")
    assert isinstance(policy, rltemp.LearnedPolicy)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), loaded.parameters(), strict=True))
    assert sum(parameter.numel() for parameter in policy.parameters()) == numbers
    assert policy.weights == {"kd_weight": 0.9, "ce_weight": 1.0}
    assert policy.needs == {"targets"}
    assert policy.over_batch
    assert policy.weighs_labels == (name == "general")
    recipe = load_recipe(name).policy
    assert policy.features.names == recipe.features
    assert vars(policy.actions) == vars(recipe.actions)


def test_general_heeds_the_labels_of_classes_that_the_teacher_does_not_know_and_not_wrong_labels() -> None:
    knows = TARGETS < 7
    misses = _logits(1.0, 8.0, 1)
    misses[~knows] = misses[~knows].roll(1, dims=1)
    noisy, wrong = _logits(1.0, 8.0, 1), torch.arange(64) % 10 >= 7
    wrong = wrong[torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    noisy[wrong] = noisy[wrong].roll(1, dims=1)
    assert _weight_of_the_label(misses) > 2.0 * _weight_of_the_label(noisy)


def test_general_kd_goes_from_hot_to_cold_where_the_teacher_is_good() -> None:
    policy, teacher, student = rltemp.make_policy("general-kd"), _logits(0.97, 8.0, 1), _logits(0.6, 2.0, 2)
    course = [_geometric(policy(student, teacher, TARGETS, progress).teacher) for progress in (0.0, 0.5, 1.0)]
    assert course == sorted(course, reverse=True)
    assert course[2] < 1.0


def test_general_kd_is_hotter_where_the_teacher_contradicts_the_label_and_all_over_where_the_teacher_is_weak() -> None:
    policy, student = rltemp.make_policy("general-kd"), _logits(0.6, 2.0, 2)
    of_teachers = {}
    for name, accuracy, sureness in (("good", 0.97, 8.0), ("misses classes", 0.7, 8.0), ("weak", 0.25, 0.3)):
        teacher = _logits(accuracy, sureness, 1)
        right = teacher.argmax(1) == TARGETS
        chosen = policy(student, teacher, TARGETS, 0.5).teacher
        of_teachers[name] = _geometric(chosen)
        if name == "misses classes":
            assert _geometric(chosen[~right]) > 4.0 * _geometric(chosen[right])
    assert of_teachers["good"] < of_teachers["misses classes"] < of_teachers["weak"]
