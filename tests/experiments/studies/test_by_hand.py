"""The policies that are set by hand weigh teacher and label by how the teacher does in the class."""

import torch

from rltemp.experiments.studies.by_hand import Setting, settings
from rltemp.recipes import Recipe


def test_a_class_that_the_teacher_never_gets_right_is_left_to_its_labels(tiny_recipe: Recipe) -> None:
    policy = Setting(temperature=2.0, less=8.0, more=3.0, label=0.5).policy(tiny_recipe)
    targets = torch.arange(40) % 10
    teacher = 9.0 * torch.nn.functional.one_hot(torch.where(targets == 3, 4, targets), 10).float()
    chosen = policy(torch.randn(40, 10, generator=torch.Generator().manual_seed(0)), teacher, targets)
    torch.testing.assert_close(chosen.teacher, torch.full((40,), 2.0))
    assert chosen.label_weight is not None
    # Of the batch it gets 0.9 right, of the three others in a class all or none.
    right = (torch.where(targets == 3, 0.0, 3.0) + 0.9) / 4.0 - 0.9
    torch.testing.assert_close(chosen.scale, 4.0 * 2.0 ** (8.0 * right), rtol=1e-4, atol=0.0)
    torch.testing.assert_close(chosen.label_weight, 0.5 * 2.0 ** (-3.0 * right), rtol=1e-4, atol=0.0)


def test_all_settings_are_different_and_static_temperatures_are_among_them() -> None:
    every = list(settings())
    assert len(set(every)) == len(every) == 54
    assert Setting(4.0, 0.0, 0.0, 1.0) in every
