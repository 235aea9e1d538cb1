"""The probe of a population: each student's own directions, refreshed as often as asked, on training images."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.alignment import alignment_effects
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.population_probe import PopulationProbe
from rltemp.errors import InputError
from rltemp.recipes.schema import PolicySpace
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures

Scope = Literal["classifier", "network"]
SCOPES: list[Scope] = ["classifier", "network"]
SEEDS = (3, 11)


def _probe(
    task: Task, scope: Scope, *, seeds: Sequence[int] = SEEDS, size: int = 64, every: int = 1
) -> PopulationProbe:
    return PopulationProbe(task.probe, task.augmentation, seeds=seeds, size=size, every=every, scope=scope)


def _update(run: DistillationRun) -> None:
    run.update(Temperatures.shared(torch.full((8 * len(run.seeds),), 4.0)))


def _move(parameters: Sequence[Tensor], direction: Sequence[Tensor], distance: float) -> None:
    with torch.no_grad():
        for parameter, part in zip(parameters, direction, strict=True):
            parameter.add_(part, alpha=distance)


@pytest.mark.parametrize("scope", SCOPES)
def test_tangents_are_each_students_own_derivatives(tiny_task: Task, scope: Scope) -> None:
    run = DistillationRun(tiny_task, SEEDS)
    _update(run)
    observation = run.observe()
    tangents = _probe(tiny_task, scope).tangents(run.students, observation)
    for k in range(len(SEEDS)):
        student = run.students.extract(k).double()
        moving = list((student.classifier if scope == "classifier" else student).parameters())
        images = observation.minibatch.images[k].double()
        loss = F.cross_entropy(student(tiny_task.probe.images.double()), tiny_task.probe.targets)
        gradient = torch.autograd.grad(loss, moving)

        with torch.no_grad():
            _move(moving, gradient, 1e-6)
            ahead = student(images)
            _move(moving, gradient, -2e-6)
            differences = (ahead - student(images)) / 2e-6
        torch.testing.assert_close(tangents[k].double(), differences, rtol=1e-3, atol=1e-5)


def test_the_effect_is_the_fall_of_the_probe_loss(tiny_task: Task) -> None:
    """A small step of plain gradient descent on one instance's KD loss lowers the probe loss by its effect."""
    run = DistillationRun(tiny_task, [5])
    observation = run.observe()
    tangents = _probe(tiny_task, "network", seeds=[5]).tangents(run.students, observation)[0].double()
    teacher, images = observation.teacher_logits[0].double(), observation.minibatch.images[0].double()
    t, rate = 3.0, 1e-6
    student = run.students.extract(0).double()

    def probe_loss() -> float:
        with torch.no_grad():
            return float(F.cross_entropy(student(tiny_task.probe.images.double()), tiny_task.probe.targets))

    for i in range(3):
        effect = alignment_effects(tangents[i], student(images[i : i + 1])[0].detach(), teacher[i], t)
        p, log_q = (teacher[i] / t).softmax(0), (student(images[i : i + 1])[0] / t).log_softmax(0)
        parameters = list(student.parameters())
        gradients = torch.autograd.grad(t * t * (p * (p.log() - log_q)).sum(), parameters)
        before = probe_loss()
        _move(parameters, gradients, -rate)
        fall = before - probe_loss()
        _move(parameters, gradients, rate)
        assert fall / rate == pytest.approx(float(effect), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("every", "refreshes"), [(1, 6), (2, 3), (4, 2), (100, 1)])
def test_every_bounds_the_refreshes(
    tiny_task: Task, scope: Scope, every: int, refreshes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = DistillationRun(tiny_task, SEEDS)
    probe = _probe(tiny_task, scope, every=every)
    kind, real = type(run.students), type(run.students).evaluate
    looked: list[int] = []

    def evaluate(self: object, images: Tensor) -> object:
        looked.append(len(images))
        return real(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "evaluate", evaluate)
    for _ in range(6):
        probe.alignment(run.students, run.observe())
        _update(run)
    assert looked == [64] * refreshes


@pytest.mark.parametrize("scope", SCOPES)
def test_a_resumed_probe_goes_on_bit_for_bit(tiny_task: Task, scope: Scope) -> None:
    run = DistillationRun(tiny_task, SEEDS)
    straight = _probe(tiny_task, scope, size=7, every=3)
    for _ in range(4):
        straight.alignment(run.students, run.observe())
        _update(run)
    resumed = _probe(tiny_task, scope, size=7, every=3)
    resumed.load_state_dict(straight.state_dict())
    for _ in range(3):
        seen = run.observe()
        assert torch.equal(resumed.alignment(run.students, seen), straight.alignment(run.students, seen))
        _update(run)


@pytest.mark.parametrize("scope", SCOPES)
def test_looking_does_not_change_the_run(tiny_task: Task, scope: Scope) -> None:
    watched, alone = DistillationRun(tiny_task, SEEDS), DistillationRun(tiny_task, SEEDS)
    probe = _probe(tiny_task, scope, size=7)
    for _ in range(4):
        probe.alignment(watched.students, watched.observe())
        _update(watched)
        _update(alone)
    for name, value in alone.students.state_dict().items():
        assert torch.equal(watched.students.state_dict()[name], value)


def test_the_policys_probe_holds_training_images_as_its_space_says(tiny_task: Task) -> None:
    assert PopulationProbe.of(tiny_task, PolicySpace(alignment="none"), SEEDS) is None
    run = DistillationRun(tiny_task, SEEDS)
    probe = PopulationProbe.of(tiny_task, PolicySpace(alignment="classifier", probe_size=10_000), SEEDS)
    assert probe is not None
    expected = _probe(tiny_task, "classifier").alignment(run.students, run.observe())
    assert torch.equal(probe.alignment(run.students, run.observe()), expected)


@pytest.mark.parametrize(("size", "every", "name"), [(0, 1, "probe_size"), (1, 0, "every")])
def test_nothing_to_look_at_is_refused(tiny_task: Task, size: int, every: int, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be >= 1, got 0"):
        _probe(tiny_task, "network", size=size, every=every)


def _tangents(task: Task, seeds: Sequence[int], scope: Scope, size: int) -> list[Tensor]:
    """Of four updates, with refreshes at the first and the third; the probe is saved and read again between them."""
    run, probe = DistillationRun(task, seeds), _probe(task, scope, seeds=seeds, size=size, every=2)
    tangents = []
    for _ in range(4):
        tangents.append(probe.tangents(run.students, run.observe()))
        run.update(Temperatures.shared(torch.full((8 * len(seeds),), 4.0)))
        state, probe = probe.state_dict(), _probe(task, scope, seeds=seeds, size=size, every=2)
        probe.load_state_dict(state)
    return tangents


@pytest.mark.parametrize("size", [7, 64, 1000], ids=["some", "all", "more than all"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("stacked", [True, False])
def test_a_students_probe_depends_on_its_own_seed_alone(
    tiny_task: Task, stacked: bool, scope: Scope, size: int
) -> None:
    task = dataclasses.replace(tiny_task, stacked=stacked)
    together = _tangents(task, (3, 11, 4), scope, size)
    for k, seed in enumerate((3, 11, 4)):
        alone = _tangents(task, [seed], scope, size)
        # Products of K students at once, of the teacher and of stacked students, may add up in another order.
        for with_others, without in zip(together, alone, strict=True):
            torch.testing.assert_close(with_others[k], without[0], rtol=1e-4, atol=1e-6)
        if not stacked and scope == "network":
            # One student after the other, and the teacher has said nothing before the first update: the same bits.
            assert torch.equal(together[0][k], alone[0][0])


def test_each_student_is_judged_by_images_that_its_own_seed_draws(tiny_task: Task) -> None:
    """Two students of equal parameters see different probes; the images are those of the seed's own permutation."""
    twins = dataclasses.replace(tiny_task, make_student=lambda _: tiny_task.make_student(make_generator(0)))
    run = DistillationRun(twins, SEEDS)
    probe = PopulationProbe(twins.probe, twins.augmentation, seeds=SEEDS, size=7, every=1, scope="classifier")
    tangents = probe.tangents(run.students, run.observe())
    student = run.students.extract(0).double()
    for k, seed in enumerate(SEEDS):
        drawn = torch.randperm(64, generator=make_generator(seed, "probe"))[:7]
        loss = F.cross_entropy(student(tiny_task.probe.images[drawn].double()), tiny_task.probe.targets[drawn])
        weight, bias = torch.autograd.grad(loss, list(student.classifier.parameters()))
        features = run.observe().student.features[k].detach().double()
        torch.testing.assert_close(tangents[k].double(), features @ weight.mT + bias, rtol=1e-4, atol=1e-6)
