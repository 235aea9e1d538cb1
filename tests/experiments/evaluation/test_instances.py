"""What is noted of an instance is what it got: its picture, which is known without augmentation, says which it is."""

import math

import numpy as np
import pytest

from rltemp.distillation import ForwardPass, Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.errors import DivergenceError
from rltemp.experiments.evaluation.instances import record_instances
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.recipes import Recipe, change_recipe
from rltemp.tasks import build_task
from rltemp.temperatures import Temperatures

SEEDS = (3, 5)
# 66 images in batches of 8: every epoch leaves two out.
PLAIN = {"data.shift": 0, "data.noise": 0, "data.train": 66}


def plain_task(recipe: Recipe, epochs: int) -> Task:
    return build_task(change_recipe(recipe, {**PLAIN, "optimization.epochs": epochs}))


def seen(task: Task, recipe: Recipe, name: str, seed: int) -> dict[int, list[tuple[float, float, float]]]:
    """Progress, temperature and cross-entropy of every visit by the instance's row, out of the run of this student."""
    visits: dict[int, list[tuple[float, float, float]]] = {}

    def note(observation: ForwardPass, temperatures: Temperatures) -> None:
        clean = task.augmentation.clean(task.probe.images).flatten(1)
        images = observation.minibatch.images[0].flatten(1)
        for place, image in enumerate(images):
            (row,) = (clean == image).all(1).nonzero()[:, 0].tolist()
            loss = -observation.student.logits[0, place].double().log_softmax(0)[task.probe.targets[row]]
            visits.setdefault(row, []).append((observation.progress, float(temperatures.student[place]), float(loss)))

    whole = PolicyRun(task, [parse_policy(name).make(seed)], [seed], recipe.policy)
    while not whole.run.finished:
        whole.advance(note)
    return visits


def test_every_visit_is_noted_at_its_instance(tiny_recipe: Recipe) -> None:
    task, steps = plain_task(tiny_recipe, 3), []
    both = record_instances(task, parse_policy("normkd"), SEEDS, tiny_recipe.policy, lambda: steps.append(1))
    assert len(steps) == task.steps * len(SEEDS)
    for seed, courses in zip(SEEDS, both, strict=True):
        expected = seen(task, tiny_recipe, "normkd", seed)
        assert courses.progress.shape == (66, 3)
        for row in range(66):
            noted = [
                values
                for values in zip(courses.progress[row], courses.temperature[row], courses.difficulty[row], strict=True)
                if not math.isnan(values[0])
            ]
            np.testing.assert_allclose(noted, expected.get(row, []), rtol=1e-4)
            losses = [loss for *_, loss in expected[row]]
            assert courses.mean_difficulty[row] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
            product = math.prod(temperature for _, temperature, _ in expected[row])
            assert courses.mean_temperature[row] == pytest.approx(product ** (1 / len(expected[row])), rel=1e-4)
        assert courses.visited.sum() == 3 * 64


def test_of_long_runs_a_part_of_the_epochs_is_kept(tiny_recipe: Recipe) -> None:
    task = plain_task(tiny_recipe, 50)
    (courses,) = record_instances(task, parse_policy("anneal"), [1], tiny_recipe.policy, lambda: None)
    assert courses.progress.shape == (66, 17)
    assert courses.visited.sum() == 17 * 64
    assert np.nanmin(courses.progress[:, 1]) == pytest.approx(3 / 50)
    assert np.isfinite(courses.mean_temperature[courses.visited > 0]).all()


def test_an_instance_that_was_left_out_has_no_mean(tiny_recipe: Recipe) -> None:
    task = plain_task(tiny_recipe, 1)
    (courses,) = record_instances(task, parse_policy("static"), [1], tiny_recipe.policy, lambda: None)
    assert np.isnan(courses.mean_temperature).sum() == np.isnan(courses.mean_difficulty).sum() == 2
    assert np.nanmax(courses.mean_temperature) == pytest.approx(4.0)


def test_students_that_diverge_are_told(tiny_recipe: Recipe) -> None:
    task = plain_task(tiny_recipe, 2)
    with pytest.raises(DivergenceError):
        record_instances(task, parse_policy("static(scale=1e30)"), [1], tiny_recipe.policy, lambda: None)


def test_random_policies_draw_as_in_the_evaluation(tiny_recipe: Recipe) -> None:
    task = plain_task(tiny_recipe, 1)
    first, again = (
        record_instances(task, parse_policy("random"), [7], tiny_recipe.policy, lambda: None)[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first.temperature, again.temperature)
    np.testing.assert_array_equal(first.difficulty, again.difficulty)
