"""What is timed on a text is what it is said to be."""

import io

import pytest
import torch
from rich.console import Console

from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.experiments.bench.characters import METHODS, measure, plain_updates
from rltemp.experiments.bench.section import tables
from rltemp.experiments.bench.timing import Quartiles
from rltemp.policies import make_policy
from rltemp.recipes import Recipe, load_recipe
from rltemp.seeding import make_generator
from rltemp.tasks import build_task


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    network = {"options": {"width": 8, "layers": 1, "heads": 2}}
    return load_recipe(
        "arena-shakespeare",
        {
            "data": {"context": 4, "train": 6, "validation": 2},
            "teacher": {"network": network, "train": None, "epochs": 0},
            "student": network,
            "optimization": {"batch_size": 2},
        },
    )


@pytest.fixture(scope="module")
def task(recipe: Recipe) -> Task:
    return build_task(recipe)


def test_every_method_is_timed_beside_the_usual_loop(recipe: Recipe) -> None:
    section = measure(0.0, recipe)
    names = [row.name for row in section.rows]
    assert names == ["plain KD", *METHODS, "policy of shakespeare-agents"] == [peak.name for peak in section.peaks]
    plain, *others = section.rows
    assert plain.ratio == Quartiles(1.0, 1.0, 1.0)
    assert all(row.ratio.median > 0 for row in others)
    assert section.peaks[0].ratio == 1.0
    # At least one tensor of logits [8, 96] each of student and teacher is alive at once.
    assert all(peak.size > 2 * 8 * 96 * 4 for peak in section.peaks)
    text = io.StringIO()
    Console(file=text, width=120).print(tables(section)[0])
    assert "characters per s" in text.getvalue()
    assert f"{8e3 / plain.milliseconds:,.0f}" in text.getvalue()


def test_the_usual_loop_makes_the_update_of_a_static_temperature(task: Task, recipe: Recipe) -> None:
    student = task.make_student(make_generator(0, "student"))
    next(plain_updates(task, student))
    whole = PolicyRun(task, [make_policy("static", temperature=4.0)], [0], recipe.policy)
    whole.advance()
    windows = task.validation.images
    with torch.no_grad():
        expected = whole.run.students.predict(windows).logits.flatten()
        torch.testing.assert_close(student(windows).flatten(), expected, rtol=1e-5, atol=1e-6)
        fresh = task.make_student(make_generator(0, "student"))(windows).flatten()
    assert (fresh - expected).abs().max() > 1e-3
