"""The policy for tasks nobody trained on does what its page says of it."""

import torch
from torch import Tensor

import rltemp
from rltemp.features import CONTEXT_FEATURES

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


def test_it_is_the_one_of_the_package_and_small() -> None:
    policy, loaded = rltemp.make_policy("general"), rltemp.load_policy("rltemp/general")
    assert isinstance(policy, rltemp.LearnedPolicy)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), loaded.parameters(), strict=True))
    assert sum(parameter.numel() for parameter in policy.parameters()) == 56
    assert policy.weights == {"kd_weight": 0.9, "ce_weight": 1.0}
    assert policy.needs == {"targets"}
    assert set(policy.features.names) & set(CONTEXT_FEATURES)
    assert policy.over_batch


def test_it_goes_from_hot_to_cold_where_the_teacher_is_good() -> None:
    policy, teacher, student = rltemp.make_policy("general"), _logits(0.97, 8.0, 1), _logits(0.6, 2.0, 2)
    course = [_geometric(policy(student, teacher, TARGETS, progress).teacher) for progress in (0.0, 0.5, 1.0)]
    assert course == sorted(course, reverse=True)
    assert course[2] < 1.0


def test_it_is_hotter_where_the_teacher_contradicts_the_label_and_all_over_where_the_teacher_is_weak() -> None:
    policy, student = rltemp.make_policy("general"), _logits(0.6, 2.0, 2)
    of_teachers = {}
    for name, accuracy, sureness in (("good", 0.97, 8.0), ("misses classes", 0.7, 8.0), ("weak", 0.25, 0.3)):
        teacher = _logits(accuracy, sureness, 1)
        right = teacher.argmax(1) == TARGETS
        chosen = policy(student, teacher, TARGETS, 0.5).teacher
        of_teachers[name] = _geometric(chosen)
        if name == "misses classes":
            assert _geometric(chosen[~right]) > 4.0 * _geometric(chosen[right])
    assert of_teachers["good"] < of_teachers["misses classes"] < of_teachers["weak"]
