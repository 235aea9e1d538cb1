"""A student on a source, from a recipe of the package to its accuracy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rltemp.distillation import DistillationRun, score
from rltemp.recipes import load_recipe
from rltemp.tasks import build_task
from rltemp.temperatures import Temperatures


@pytest.fixture
def learned() -> Callable[..., float]:
    """Mean validation accuracy of two students after a run of the recipe `name` at T = 4."""

    def learn(name: str, overrides: dict[str, Any]) -> float:
        recipe = load_recipe(name, overrides)
        task = build_task(recipe)
        run = DistillationRun(task, [0, 1])
        while not run.finished:
            run.observe()
            run.update(Temperatures.shared(torch.full((2 * recipe.optimization.batch_size,), 4.0)))
        return float(score(run.students, task.validation, task.augmentation).accuracy.mean())

    return learn
