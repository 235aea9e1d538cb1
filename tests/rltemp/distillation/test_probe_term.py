"""The probe as a term of the loss: the stated gradient, on the images that the alignment's probe would look at."""

import copy
import dataclasses
import io
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp import make_policy
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.population_probe import PopulationProbe
from rltemp.distillation.probe_images import ProbeImages
from rltemp.distillation.probe_term import ProbeTerm
from rltemp.distillation.students import Output, Students
from rltemp.networks import Network, make_network
from rltemp.recipes.schema import PolicySpace
from rltemp.seeding import make_generator

SEEDS = (3, 11)
SPACE = PolicySpace(alignment="none", probe_size=7, every=3)


def _task(task: Task, weight: float, *, stacked: bool = True) -> Task:
    return dataclasses.replace(
        task, optimization=dataclasses.replace(task.optimization, probe_weight=weight), stacked=stacked
    )


def _run(task: Task, seeds: Sequence[int] = SEEDS, space: PolicySpace = SPACE, policy: str = "static") -> PolicyRun:
    return PolicyRun(task, [make_policy(policy) for _ in seeds], seeds, space)


def _trained(task: Task, seeds: Sequence[int] = SEEDS, updates: int = 5, space: PolicySpace = SPACE) -> Students:
    whole = _run(task, seeds, space)
    for _ in range(updates):
        whole.advance()
    return whole.run.students


def _same(a: Students, b: Students) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


@pytest.mark.parametrize("stacked", [True, False])
def test_an_update_is_a_step_of_sgd_on_the_loss_with_the_term(tiny_task: Task, stacked: bool) -> None:
    optimization = dataclasses.replace(
        tiny_task.optimization, momentum=0.0, nesterov=False, lr=0.1, ce_weight=0.3, kd_weight=0.7
    )
    task = _task(dataclasses.replace(tiny_task, optimization=optimization), 0.4, stacked=stacked)
    whole = _run(task)
    before = [whole.run.students.extract(k).double() for k in range(len(SEEDS))]
    observed = whole.run.observe()
    whole.advance()
    for k, seed in enumerate(SEEDS):
        student, images, targets = before[k], observed.minibatch.images[k].double(), observed.minibatch.targets[k]
        logits, teacher = student(images), observed.teacher_logits[k].double()
        drawn = torch.randperm(64, generator=make_generator(seed, "probe"))[:7]
        clean = task.augmentation.clean(task.probe.images[drawn]).double()
        losses = []
        for z, v, y in zip(logits, teacher, targets, strict=True):
            p, q = (v / 4.0).softmax(0), (z / 4.0).softmax(0)
            losses.append(0.7 * 16.0 * (p * (p / q).log()).sum() - 0.3 * z.log_softmax(0)[y])
        term = [-z.log_softmax(0)[y] for z, y in zip(student(clean), task.probe.targets[drawn], strict=True)]
        loss = torch.stack(losses).mean() + 0.4 * torch.stack(term).mean()
        gradients = torch.autograd.grad(loss, list(student.parameters()))
        after = dict(whole.run.students.extract(k).named_parameters())
        for (name, parameter), gradient in zip(student.named_parameters(), gradients, strict=True):
            want = parameter - 0.1 * gradient
            torch.testing.assert_close(after[name].double(), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "every"), [(7, 1), (7, 3), (64, 2), (1000, 2)])
def test_its_images_are_those_of_the_alignments_probe(
    tiny_task: Task, size: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    run = DistillationRun(tiny_task, SEEDS)
    kind = type(run.students)

    def watched(real: Callable[[Students, Tensor], Output]) -> Callable[[Students, Tensor], Output]:
        def evaluate(self: Students, images: Tensor) -> Output:
            seen.append(images)
            return real(self, images)

        return evaluate

    for name in ("evaluate", "evaluate_each"):
        monkeypatch.setattr(kind, name, watched(getattr(kind, name)))
    space = PolicySpace(alignment="classifier", probe_size=size, every=every)
    probe, term = PopulationProbe.of(tiny_task, space, SEEDS), ProbeTerm.of(_task(tiny_task, 0.1), space, SEEDS)
    assert probe is not None
    assert term is not None
    for update in range(6):
        seen.clear()
        probe.tangents(run.students, run.observe())
        by_probe = list(seen)
        seen.clear()
        loss = term.loss(run.students)
        assert (loss is not None) == bool(seen) == (update % every == 0)
        assert len(seen) == len(by_probe)
        assert all(torch.equal(a, b) for a, b in zip(seen, by_probe, strict=True))


def test_between_two_draws_nothing_is_added(tiny_task: Task) -> None:
    """The first of three updates alone has the term; from its state on, the next two are those without."""
    with_term, without = _run(_task(tiny_task, 0.5)), _run(tiny_task)
    with_term.advance()
    without.advance()
    assert not _same(with_term.run.students, without.run.students)
    without.run.load_state_dict(copy.deepcopy(with_term.run.state_dict()))
    for _ in range(2):
        with_term.advance()
        without.advance()
    assert _same(with_term.run.students, without.run.students)
    with_term.advance()
    without.advance()
    assert not _same(with_term.run.students, without.run.students)


def test_an_aligned_policy_sees_the_same_probe_beside_the_term(tiny_task: Task) -> None:
    space = PolicySpace(alignment="classifier", probe_size=7, every=2)
    plain, both = _run(tiny_task, space=space, policy="influence"), _run(_task(tiny_task, 0.5), space=space)
    images = ProbeImages(tiny_task.probe, tiny_task.augmentation, seeds=SEEDS, size=7, every=2)
    for _ in range(3):
        plain.advance()
        both.advance()
        if images.due():
            images.look(plain.run.students)
    for state in (plain.state_dict()["probe"], both.state_dict()["term"]):
        assert state["age"] == 3
        for ours, theirs in zip(state["generators"], images.state_dict()["generators"], strict=True):
            assert torch.equal(ours, theirs)


def test_without_a_weight_there_is_no_term(tiny_task: Task) -> None:
    assert ProbeTerm.of(tiny_task, SPACE, SEEDS) is None
    assert _run(tiny_task).state_dict()["term"] is None


@pytest.mark.parametrize("stacked", [True, False])
def test_a_student_depends_on_its_own_seed_alone(tiny_task: Task, stacked: bool) -> None:
    together = _trained(_task(tiny_task, 0.5, stacked=stacked), (3, 11, 4))
    other = _trained(_task(tiny_task, 0.5, stacked=not stacked), (3, 11, 4))
    for k, seed in enumerate((3, 11, 4)):
        alone = _trained(_task(tiny_task, 0.5, stacked=stacked), [seed])
        for name, value in together.extract(k).state_dict().items():
            torch.testing.assert_close(value, alone.extract(0).state_dict()[name], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(value, other.extract(k).state_dict()[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stacked", [True, False])
def test_a_resumed_run_goes_on_bit_for_bit(tiny_task: Task, stacked: bool) -> None:
    task = _task(tiny_task, 0.5, stacked=stacked)
    straight = _run(task)
    for _ in range(4):
        straight.advance()
    buffer = io.BytesIO()
    torch.save(straight.state_dict(), buffer)
    buffer.seek(0)
    resumed = _run(task)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    for _ in range(3):  # the third has a draw
        straight.advance()
        resumed.advance()
    assert _same(straight.run.students, resumed.run.students)


def test_running_statistics_do_not_move(tiny_task: Task) -> None:
    def build(generator: torch.Generator) -> Network:
        return make_network("cnn", 10, (1, 8, 8), generator, channels=[4])

    task = dataclasses.replace(_task(tiny_task, 0.5, stacked=False), make_student=build)
    run = DistillationRun(task, SEEDS)
    run.observe()
    before = {name: value.clone() for name, value in run.students.state_dict().items()}
    term = ProbeTerm.of(task, SPACE, SEEDS)
    assert term is not None
    loss = term.loss(run.students)
    assert loss is not None
    assert run.students.training
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(value, run.students.state_dict()[name]) for name, value in before.items())
    expected = 0.0
    for k, seed in enumerate(SEEDS):
        drawn = torch.randperm(64, generator=make_generator(seed, "probe"))[:7]
        student = run.students.extract(k).double().eval().requires_grad_(False)
        logits = student(task.augmentation.clean(task.probe.images[drawn]).double())
        expected += 0.5 * float(F.cross_entropy(logits, task.probe.targets[drawn]))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
