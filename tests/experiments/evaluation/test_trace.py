"""What is noted of the instances of a run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rltemp.distillation import Task
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe
from rltemp.tasks import build_task

SEEDS = (3, 5, 8)


@pytest.mark.parametrize("views", [None, 2])
def test_whose_label_was_replaced_is_known(tiny_recipe: Recipe, tiny_task: Task, views: int | None) -> None:
    recipe = replace(tiny_recipe, data=replace(tiny_recipe.data, label_noise=0.5, views=views))
    noisy = build_task(recipe)
    trace = evaluate_policy(recipe, noisy, parse_policy("dtkd"), SEEDS, noisy.teacher, NoProgress()).trace
    assert trace is not None
    assert trace.mislabelled is not None
    # The same images in the same order, once with the labels as stated and once with their own.
    stated, own = noisy.minibatches(SEEDS), tiny_task.minibatches(SEEDS)
    replaced = [(stated.draw().targets != own.draw().targets).flatten() for _ in range(noisy.steps)]
    np.testing.assert_array_equal(trace.mislabelled, torch.cat(replaced).double().numpy())
    assert 0.2 < trace.mislabelled.mean() < 0.7


def test_where_none_was_replaced_nothing_is_noted(tiny_recipe: Recipe, tiny_task: Task) -> None:
    result = evaluate_policy(tiny_recipe, tiny_task, parse_policy("dtkd"), SEEDS, tiny_task.teacher, NoProgress())
    assert tiny_task.replaced is None
    assert result.trace is not None
    assert result.trace.mislabelled is None
