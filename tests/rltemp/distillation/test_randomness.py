"""What students draw in training depends on their own seeds alone, and moves no generator of anybody else."""

import dataclasses
import io

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from rltemp import InputError
from rltemp.distillation import DistillationRun, LoopStudents, StackedStudents, Task
from rltemp.distillation.randomness import random_layers
from rltemp.networks import MLP, ExternalNetwork, Network
from rltemp.networks.initialization import seeded_by
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures

SEEDS = (3, 11)


def _forgetful(generator: torch.Generator) -> Network:
    """A perceptron with dropout."""
    with seeded_by(generator):
        layers = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10)
        )
    return ExternalNetwork(layers, 10)


@pytest.fixture
def task(tiny_task: Task) -> Task:
    return dataclasses.replace(tiny_task, make_student=_forgetful, stacked=False)


def _advance(run: DistillationRun, updates: int) -> list[Tensor]:
    """Logits [K, B, C] of every update."""
    seen = []
    for _ in range(updates):
        seen.append(run.observe().student.logits.detach())
        run.update(Temperatures.shared(torch.full((8 * run.students.count,), 4.0)))
    return seen


def test_a_student_alone_is_the_same_student_among_others(task: Task) -> None:
    together = DistillationRun(task, SEEDS)
    seen = _advance(together, task.steps)
    for k, seed in enumerate(SEEDS):
        torch.rand(7)  # whatever else the program draws
        alone = DistillationRun(task, [seed])
        course = _advance(alone, task.steps)
        assert torch.equal(course[0][0], seen[0][k])
        # Losses of one student and of two are rounded differently, in the last digit.
        torch.testing.assert_close(torch.stack(course)[:, 0], torch.stack(seen)[:, k], rtol=1e-5, atol=1e-5)


def test_every_update_drops_others(task: Task) -> None:
    run = DistillationRun(task, [3])
    images = run.observe().minibatch.images
    network = run.students.train()
    drawn = [network(images, [seed]).logits for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    seeds = []
    while not run.finished:
        seeds.append(run.observe().seeds)
        run.update(Temperatures.shared(torch.ones(8)))
    assert len(set(seeds)) == run.task.steps


def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(task: Task) -> None:
    unbroken = DistillationRun(task, SEEDS)
    _advance(unbroken, 3)
    buffer = io.BytesIO()
    torch.save(unbroken.state_dict(), buffer)
    buffer.seek(0)
    resumed = DistillationRun(task, SEEDS)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    torch.rand(5)
    for mine, other in zip(_advance(resumed, 3), _advance(unbroken, 3), strict=True):
        assert torch.equal(mine, other)


def test_no_global_generator_moves(task: Task) -> None:
    before = torch.get_rng_state()
    run = DistillationRun(task, SEEDS)
    _advance(run, 2)
    run.students.predict(task.validation.images)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_that_draw_nothing_have_no_seeds(tiny_task: Task) -> None:
    run = DistillationRun(dataclasses.replace(tiny_task, stacked=False), SEEDS)
    assert run.observe().seeds == ()


def test_students_that_draw_ask_for_seeds_in_training_alone() -> None:
    students = LoopStudents([_forgetful(make_generator(seed)) for seed in SEEDS]).train()
    images = torch.zeros(2, 4, 1, 8, 8)
    for seeds in ((), (1,)):
        with pytest.raises(InputError, match=rf"seeds must be one for each of 2 students that draw, got {len(seeds)}"):
            students(images, seeds)
    assert students.eval()(images).logits.shape == (2, 4, 10)


def test_stacked_students_that_draw_are_refused() -> None:
    with pytest.raises(InputError, match=r"'body\.1' of ExternalNetwork draws in training"):
        StackedStudents([_forgetful(make_generator(0))])


class Written(nn.Module):
    """A rate that `forward` hands to `F.dropout`."""

    def __init__(self, drop_rate: float) -> None:
        super().__init__()
        self.drop_rate = drop_rate


class DropPath(nn.Module):
    """Like timm's."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob


DRAWING = {
    "dropout": nn.Dropout(0.1),
    "dropout of maps": nn.Dropout2d(0.1),
    "alpha": nn.AlphaDropout(0.1),
    "attention": nn.MultiheadAttention(4, 2, dropout=0.1),
    "recurrent": nn.LSTM(3, 4, 2, dropout=0.1),
    "path": DropPath(0.1),
    "written": Written(0.1),
    "slopes": nn.RReLU(),
}
SILENT = {
    "dropout": nn.Dropout(0.0),
    "attention": nn.MultiheadAttention(4, 2),
    "path": DropPath(0.0),
    "distance": nn.PairwiseDistance(p=2.0),
    "perceptron": MLP((4, 5, 3), make_generator(0)),
}


@pytest.mark.parametrize("layer", DRAWING)
def test_layers_that_draw_are_seen(layer: str) -> None:
    assert random_layers(nn.Sequential(nn.ReLU(), DRAWING[layer]))[0] == "1"


@pytest.mark.parametrize("layer", SILENT)
def test_layers_that_draw_nothing_are_not(layer: str) -> None:
    assert random_layers(SILENT[layer]) == ()


@pytest.mark.parametrize(
    ("name", "draws"), [("resnet18", False), ("convnext_tiny", True), ("vit_b_16", False), ("swin_v2_t", True)]
)
def test_networks_of_torchvision_are_known(name: str, draws: bool) -> None:
    with torch.device("meta"):
        assert bool(random_layers(models.get_model(name))) == draws
