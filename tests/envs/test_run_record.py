"""Updates that are made anew are the very ones that were made, whatever is random in them; and how much is kept."""

import dataclasses
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.image_views import ImageViews
from rltemp.distillation.mixup import MixUp
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.envs.credit_memory import CreditMemory
from rltemp.envs.credit_plan import CreditPlan
from rltemp.envs.reward import ProbeReward
from rltemp.envs.unrolling import UnrolledRun
from rltemp.networks import Network, make_network
from rltemp.networks.initialization import seeded_by
from rltemp.recipes import load_recipe
from rltemp.recipes.schema import Agent
from rltemp.seeding import make_generator
from rltemp.tasks import build_task
from rltemp.temperatures import Temperatures
from tests.pictures import write_tree

SEEDS = (3, 4)
HOTTER, COLDER = (Temperatures.shared(torch.full((16,), t)) for t in (6.0, 3.0))


class Drawing(Network):
    """Batch normalization, one layer with a cumulative average, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Dropout(0.3), nn.BatchNorm1d(12, momentum=None)
        )
        self.classifier = nn.Linear(12, 10)

    def features(self, x: Tensor) -> Tensor:
        hidden: Tensor = torch.tanh(self.layers(x))
        return hidden


def _drawing(generator: torch.Generator) -> Network:
    with seeded_by(generator):
        return Drawing()


def _cnn(generator: torch.Generator) -> Network:
    return make_network("cnn", 10, (1, 8, 8), generator, channels=[4, 6])


def _as_views(task: Task) -> Task:
    assert isinstance(task.training, ImagesInMemory)
    return dataclasses.replace(task, training=ImageViews(task.training, 2, make_generator(0)))


STUDENTS: dict[str, Callable[[Task], Task]] = {
    "perceptrons": lambda task: task,
    "normalized": lambda task: dataclasses.replace(task, make_student=_cnn, stacked=False),
    "normalized, stacked": lambda task: dataclasses.replace(task, make_student=_cnn),
    "dropout": lambda task: dataclasses.replace(task, make_student=_drawing, stacked=False),
    "views": _as_views,
}


@pytest.fixture(scope="session")
def longer(tiny_task: Task) -> Task:
    """Two epochs of shifted and noisy images: 16 updates."""
    assert [transform.random for transform in tiny_task.augmentation.transforms].count(True) == 2
    return dataclasses.replace(tiny_task, optimization=dataclasses.replace(tiny_task.optimization, epochs=2))


def _played(task: Task, plan: CreditPlan, mixup: MixUp | None = None) -> tuple[UnrolledRun, DistillationRun]:
    """A run at its end, at temperatures of its own for every instance of every update."""
    run = DistillationRun(task, SEEDS, mixup=mixup)
    unrolled, reward, generator = UnrolledRun(run, plan), ProbeReward(task), torch.Generator().manual_seed(0)
    while not run.finished:
        chosen = Temperatures.shared(1.0 + 7.0 * torch.rand(16, generator=generator))
        unrolled.note(chosen)
        run.update(chosen)
        unrolled.mark()
    reward.loss(run.students)
    unrolled.look_back(reward.gradient(run.students))
    return unrolled, run


def _effects(unrolled: UnrolledRun) -> Tensor:
    both = unrolled.effects_of_each(lambda update: [HOTTER, COLDER])
    return both[0] - both[1]


def _same_with_checkpoints(task: Task, mixup: MixUp | None = None) -> None:
    steps = task.steps
    whole = _effects(_played(task, CreditPlan(steps), mixup)[0])
    unrolled, run = _played(task, CreditPlan(steps, checkpoints=True), mixup)
    before = {name: value.clone() for name, value in run.students.state_dict().items()}
    assert whole.abs().amax((1, 2)).min() > 0.0
    for _ in range(2):  # the way back can be gone again
        assert torch.equal(_effects(unrolled), whole)
    assert run.finished
    assert all(torch.equal(value, before[name]) for name, value in run.students.state_dict().items())


@pytest.mark.parametrize("students", STUDENTS)
def test_credit_from_checkpoints_is_bit_for_bit_that_from_a_whole_record(longer: Task, students: str) -> None:
    _same_with_checkpoints(STUDENTS[students](longer))


@pytest.mark.parametrize("settings", [{"nesterov": False, "momentum": 0.0}, {"nesterov": False, "weight_decay": 0.05}])
def test_it_is_for_every_optimizer(longer: Task, settings: dict[str, Any]) -> None:
    _same_with_checkpoints(
        dataclasses.replace(longer, optimization=dataclasses.replace(longer.optimization, **settings))
    )


def test_it_is_for_mixtures_whose_images_depend_on_the_students(longer: Task) -> None:
    _same_with_checkpoints(longer, MixUp(range(9)))


def test_it_is_for_images_that_stream_from_disk(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train": 14, "test": 2}, ("ant", "bee"), lambda number: (12 + number, 12))
    recipe = load_recipe(
        "cifar100-cpu",
        {
            "data": {"name": "folder", "path": str(tmp_path), "train": 24, "validation": 4, "in_memory": False},
            "data.image_size": 8,
            "data.shift": 0,
            "data.views": None,
            "teacher": {"network": {"options": {"channels": [4]}}, "train": None, "epochs": 0},
            "student": {"options": {"channels": [4]}},
            "optimization": {"epochs": 2, "batch_size": 8},
        },
    )
    _same_with_checkpoints(build_task(recipe))


@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_window_is_credited_as_it_was_and_what_comes_before_it_not_at_all(longer: Task, checkpoints: bool) -> None:
    whole = _effects(_played(longer, CreditPlan(16))[0])
    windowed = _effects(_played(longer, CreditPlan(16, window=0.3, checkpoints=checkpoints))[0])
    assert torch.equal(windowed[11:], whole[11:])
    assert not windowed[:11].any()


@pytest.mark.parametrize("students", ["perceptrons", "dropout"])
def test_every_third_update_is_credited_about_as_if_all_were(longer: Task, students: str) -> None:
    task = STUDENTS[students](longer)
    whole = _effects(_played(task, CreditPlan(16))[0])
    third = _effects(_played(task, CreditPlan(16, every=3))[0])
    assert torch.equal(third, _effects(_played(task, CreditPlan(16, every=3, checkpoints=True))[0]))
    assert torch.equal(third[15], whole[15])
    assert third.abs().amax((1, 2)).nonzero().flatten().tolist() == [0, 3, 6, 9, 12, 15]
    late = torch.corrcoef(torch.stack((third[[9, 12]].flatten(), whole[[9, 12]].flatten())))[0, 1]
    assert late > 0.9


@given(st.integers(1, 300), st.floats(1e-3, 1.0), st.integers(1, 20), st.booleans())
def test_a_plan_keeps_states_for_its_window_alone(updates: int, window: float, every: int, checkpoints: bool) -> None:
    plan = CreditPlan(updates, window, every, checkpoints)
    credited = [update for update in range(updates) if plan.credits(update)]
    assert len(credited) == plan.credited
    assert credited[-1] == updates - 1
    assert credited[0] >= plan.first == plan.starts[0]
    assert abs(plan.length - window * updates) <= 1.0
    assert plan.starts[-1] < updates <= plan.starts[-1] + plan.segment


def test_the_settings_of_an_agent_are_the_plan() -> None:
    assert CreditPlan.of(Agent(), 90) == CreditPlan(90)
    agent = Agent(checkpoints="auto", window=0.5, credit_every=4)
    assert CreditPlan.of(agent, 90) == CreditPlan(90, 0.5, 4, checkpoints=True)


def _bytes() -> int:
    gc.collect()
    # Of other classes are tensors without memory, which a compiler leaves behind.
    tensors = (thing for thing in gc.get_objects() if type(thing) in (Tensor, nn.Parameter))
    return sum({tensor.data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


@pytest.mark.parametrize("checkpoints", [False, True])
def test_what_is_kept_is_what_was_foretold(longer: Task, checkpoints: bool) -> None:
    """Counted before the way back, where a whole record is at its largest; of checkpoints a segment comes on top."""
    task = STUDENTS["normalized"](longer)
    plan = CreditPlan(16, checkpoints=checkpoints)
    run = DistillationRun(task, SEEDS)
    before = _bytes()
    unrolled = UnrolledRun(run, plan)
    while not run.finished:
        chosen = Temperatures.shared(torch.full((16,), 4.0))
        unrolled.note(chosen)
        run.update(chosen)
        unrolled.mark()
    momentum = sum(parameter.nbytes for parameter in run.students.parameters())
    kept = _bytes() - before - 2 * momentum  # that of the optimizer, and gradients
    memory = CreditMemory.of(task, 2, 64)
    segment = dataclasses.replace(memory, streams=0, buffers=0)
    largest = 4 * (segment.parameters + segment.images + 2 * segment.logits) if checkpoints else 0
    assert kept + largest == pytest.approx(memory.needed(plan), rel=0.1)
