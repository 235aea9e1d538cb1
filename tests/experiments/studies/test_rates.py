"""The rate that suits is found near by and farther off, and errors are measured at the rate that is asked for."""

import dataclasses
import math

import pytest

from rltemp.experiments.studies.rates import STEP, errors_at, suited
from rltemp.recipes import Recipe, load_recipe
from rltemp.tasks import prepare_task
from tests.agents.toys import SMALL


@pytest.mark.parametrize("steps", [0, 2, -3, 5, -6])
def test_the_rate_with_the_smallest_errors_is_found(steps: int) -> None:
    wanted = 0.05 * STEP**steps
    found = suited(lambda rate: abs(math.log(rate / wanted)), 0.05)
    assert found == pytest.approx(wanted)


def test_it_goes_no_farther_than_six_steps() -> None:
    assert suited(lambda rate: -rate, 0.05) == pytest.approx(0.05 * STEP**6)


def test_students_are_trained_at_the_rate_that_is_asked_for() -> None:
    recipe: Recipe = load_recipe("digits-short", {**SMALL, "agent.objective": "error", "agent.credit": "uniform"})
    recipe = dataclasses.replace(recipe, optimization=dataclasses.replace(recipe.optimization, ce_weight=1.0))
    errors = errors_at(recipe, prepare_task(recipe))
    still, fast = errors(1e-9), errors(0.1)
    assert 0.0 <= fast < still <= 100.0
