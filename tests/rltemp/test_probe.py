"""`ProbeAlignment` sees what `PopulationProbe` sees, and training does not notice it."""

import copy
import io
import itertools
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rltemp import InputError, ProbeAlignment
from rltemp.alignment import ALIGNMENT_TEMPERATURES, normalized_alignment
from rltemp.distillation import DistillationRun, Task
from rltemp.distillation.population_probe import PopulationProbe
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures

Scope = Literal["classifier", "network"]
SCOPES: list[Scope] = ["classifier", "network"]
CLASSES = 5


class Student(nn.Module):
    """Whatever could notice: batch normalization, dropout, a layer that counts, one kept in evaluation mode."""

    passes: Tensor

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.frozen = nn.BatchNorm2d(4).eval()
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(4, CLASSES, bias=bias)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, gain: float = 1.0) -> Tensor:
        self.passes += 1
        hidden = self.frozen(self.norm(self.convolution(gain * images))).relu().mean((2, 3))
        # A mistake that is often made: this one draws in evaluation mode too, and must not disturb the others.
        F.dropout(hidden, 0.0)
        logits: Tensor = self.classifier(self.dropout(hidden))
        return logits


def _student(seed: int = 0, bias: bool = True) -> Student:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = Student(bias)
        nn.init.normal_(student.norm.get_buffer("running_mean"))
    return student


def _batches(count: int, size: int = 6) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = torch.randn(size, 1, 6, 6, generator=generator)
        teacher_logits = torch.randn(size, CLASSES, generator=generator)
        yield images, teacher_logits, torch.randint(CLASSES, (size,), generator=generator)


def _probe(student: Student, scope: Scope, every: int = 1, size: int | None = None) -> ProbeAlignment:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(20, 1, 6, 6, generator=generator, dtype=student.classifier.weight.dtype)
    return ProbeAlignment(
        student, student.classifier, images, torch.arange(20) % CLASSES, every, size=size, scope=scope
    )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("size", "every"), [(None, 1), (20, 1), (20, 3)])
def test_it_equals_the_probe_of_a_population_of_one(
    tiny_task: Task, scope: Scope, size: int | None, every: int
) -> None:
    run = DistillationRun(tiny_task, [3])
    train = tiny_task.probe
    population = PopulationProbe(
        train, tiny_task.augmentation, seeds=[3], size=size or len(train), every=every, scope=scope
    )
    generator = make_generator(3, "probe")
    student = run.students.extract(0)
    images = tiny_task.augmentation.clean(train.images)
    with ProbeAlignment(
        student, student.classifier, images, train.targets, every, size=size, generator=generator, scope=scope
    ) as probe:
        for _ in range(5):
            student.load_state_dict(run.students.extract(0).state_dict())
            observation = run.observe()
            expected = population.alignment(run.students, observation)[0]
            logits = student(observation.minibatch.images[0])
            alignment = probe(logits, observation.teacher_logits[0])
            assert alignment.shape == (8, len(ALIGNMENT_TEMPERATURES))
            torch.testing.assert_close(alignment, expected, rtol=1e-4, atol=1e-5)
            run.update(Temperatures.shared(torch.full((8,), 4.0)))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_finite_differences(scope: Scope, bias: bool) -> None:
    student = _student(bias=bias).double()
    probe = _probe(student, scope)
    images, teacher_logits, _ = next(_batches(1))
    images, teacher_logits = images.double(), teacher_logits.double()
    student.eval()
    alignment = probe(student(images), teacher_logits)
    probe.close()

    moving = list((student.classifier if scope == "classifier" else student).parameters())
    loss = F.cross_entropy(student(probe._images), probe._targets)
    gradient = torch.autograd.grad(loss, moving)
    step = 1e-6 / max(float(part.abs().max()) for part in gradient)

    def logits_at(shift: float) -> Tensor:
        with torch.no_grad():
            for parameter, part in zip(moving, gradient, strict=True):
                parameter.add_(part, alpha=shift)
            logits: Tensor = student(images)
            for parameter, part in zip(moving, gradient, strict=True):
                parameter.sub_(part, alpha=shift)
        return logits

    tangent = (logits_at(step) - logits_at(-step)) / (2 * step)
    expected = normalized_alignment(tangent, student(images).detach(), teacher_logits)
    torch.testing.assert_close(alignment, expected, rtol=1e-5, atol=1e-6)


def _train(scope: Scope | None) -> tuple[Student, list[int], Tensor]:
    """Four updates, beside a probe or without one."""
    student = _student()
    called: list[int] = []
    student.classifier.weight.register_hook(lambda gradient: called.append(1))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    probe = _probe(student, scope, size=7) if scope else None
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for images, teacher_logits, targets in _batches(4):
            logits = student(images)
            if probe is not None:
                probe(logits, teacher_logits)
            optimizer.zero_grad()
            F.cross_entropy(logits, targets).backward()
            optimizer.step()
        return student, called, torch.get_rng_state()


@pytest.mark.parametrize("scope", SCOPES)
def test_training_does_not_notice(scope: Scope) -> None:
    alone, hooks_alone, random_alone = _train(None)
    beside, hooks_beside, random_beside = _train(scope)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, beside.state_dict()[name]), name
    assert [module.training for module in beside.modules()] == [module.training for module in alone.modules()]
    assert not beside.frozen.training
    assert hooks_beside == hooks_alone
    assert torch.equal(random_beside, random_alone)


@pytest.mark.parametrize("scope", SCOPES)
def test_gradients_stay_as_they_are(scope: Scope) -> None:
    student = _student()
    probe = _probe(student, scope)
    images, teacher_logits, _ = next(_batches(1))
    logits = student(images)
    assert not probe(logits, teacher_logits).requires_grad
    assert all(parameter.grad is None for parameter in student.parameters())
    logits.sum().backward()
    before = [parameter.grad.clone() for parameter in student.parameters() if parameter.grad is not None]
    logits = student(images)
    probe(logits, teacher_logits)
    after = [parameter.grad for parameter in student.parameters() if parameter.grad is not None]
    assert before
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_failure_leaves_modes_and_records_as_they_were(scope: Scope) -> None:
    student = _student()
    probe = ProbeAlignment(student, student.classifier, torch.randn(4, 3, 6, 6), torch.arange(4), scope=scope)
    images, teacher_logits, _ = next(_batches(1))
    logits = student(images)
    with pytest.raises(RuntimeError, match="channels"):
        probe(logits, teacher_logits)
    assert student.training
    assert not student.frozen.training
    with pytest.raises(RuntimeError, match="channels"):  # not the error of a pass that is unknown
        probe(logits, teacher_logits)


@pytest.mark.parametrize("scope", SCOPES)
def test_it_works_under_autocast(scope: Scope) -> None:
    student = _student().eval()
    probe = _probe(student, scope)
    images, teacher_logits, _ = next(_batches(1))
    exact = probe(student(images), teacher_logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = student(images.bfloat16())
        assert logits.dtype == torch.bfloat16
        inside = probe(logits, teacher_logits.bfloat16())
    outside = probe(logits.float(), teacher_logits.bfloat16().float())
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
    torch.testing.assert_close(inside, exact, rtol=0.1, atol=0.1)


def test_the_network_is_seen_only_through_what_is_trained() -> None:
    """With all but the classifier frozen, both scopes are the same."""
    student = _student().eval()
    student.requires_grad_(False)
    student.classifier.requires_grad_(True)
    narrow, wide = _probe(student, "classifier"), _probe(student, "network")
    images, teacher_logits, _ = next(_batches(1))
    logits = student(images)
    torch.testing.assert_close(wide(logits, teacher_logits), narrow(logits, teacher_logits))
    student.requires_grad_(False)
    with pytest.raises(InputError, match="student must have parameters that require gradients"):
        wide(student(images), teacher_logits)


def test_keyword_inputs_of_the_student_count() -> None:
    student = _student().eval()
    probe = _probe(student, "network")
    images, teacher_logits, _ = next(_batches(1))
    by_keyword = probe(student(images, gain=3.0), teacher_logits)
    by_hand = probe(student(3.0 * images), teacher_logits)
    assert torch.allclose(by_keyword, by_hand, atol=1e-5)
    assert not torch.allclose(by_keyword, probe(student(images), teacher_logits), atol=1e-2)


@pytest.mark.parametrize(("every", "refreshes"), [(1, 6), (2, 3), (4, 2), (10, 1)])
def test_every_bounds_the_refreshes(every: int, refreshes: int) -> None:
    student = _student()
    probe = _probe(student, "classifier", every=every, size=7)
    sizes: list[int] = []
    student.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    for images, teacher_logits, _ in _batches(6):
        probe(student(images), teacher_logits)
    assert sizes.count(7) == refreshes
    assert sizes.count(6) == 6


def test_two_probes_do_not_see_each_other() -> None:
    student = _student().eval()
    narrow, wide = _probe(student, "classifier"), _probe(student, "network")
    images, teacher_logits, _ = next(_batches(1))
    logits = student(images)
    first = narrow(logits, teacher_logits)
    wide(logits, teacher_logits)
    assert torch.equal(narrow(logits, teacher_logits), first)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_resumed_probe_goes_on_bit_for_bit(scope: Scope) -> None:
    student = _student().eval()
    straight = _probe(student, scope, every=3, size=7)
    batches = list(_batches(8))
    for images, teacher_logits, _ in batches[:4]:
        straight(student(images), teacher_logits)
    buffer = io.BytesIO()
    torch.save(straight.state_dict(), buffer)
    buffer.seek(0)
    resumed = _probe(student, scope, every=3, size=7)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    for images, teacher_logits, _ in batches[4:]:
        logits = student(images)
        assert torch.equal(resumed(logits, teacher_logits), straight(logits, teacher_logits))


def test_a_copy_of_the_student_is_another_student() -> None:
    """Averages of weights and checkpoints copy the student in the middle of a step."""
    student = _student()
    probe = _probe(student, "network")
    images, teacher_logits, _ = next(_batches(1))
    logits = student(images)
    twin = copy.deepcopy(student)
    twin(images[:2])
    assert probe(logits, teacher_logits).shape[0] == 6
    buffer = io.BytesIO()
    torch.save(student.state_dict(), buffer)
    buffer.seek(0)
    twin.load_state_dict(torch.load(buffer, weights_only=True))


def test_before_a_forward_pass_it_is_refused() -> None:
    student = _student()
    probe = _probe(student, "classifier")
    with pytest.raises(InputError, match="must have made a forward pass first"):
        probe(torch.randn(6, CLASSES), torch.randn(6, CLASSES))


def test_logits_of_another_pass_are_refused() -> None:
    student = _student()
    probe = _probe(student, "classifier")
    (images, teacher_logits, _), (other, _, _) = itertools.islice(_batches(2), 2)
    first = student(images)
    student(other)
    with pytest.raises(InputError, match="what classifier gave in the student's last forward pass"):
        probe(first, teacher_logits)
    with pytest.raises(InputError, match=r"of shape \[6, 5\], got \[4, 5\]"):
        probe(student(images)[:4], teacher_logits[:4])
    with pytest.raises(InputError, match="what classifier gave"):
        probe(student(images).log_softmax(-1), teacher_logits)


def test_closing_removes_the_hooks() -> None:
    student = _student()
    images, teacher_logits, _ = next(_batches(1))
    with _probe(student, "network") as probe:
        logits = student(images)
        probe(logits, teacher_logits)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in student.modules())
    with pytest.raises(InputError, match="forward pass"):
        probe(logits, teacher_logits)


def test_a_layer_without_a_forward_mode_derivative_is_named() -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.classifier = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Linear(4, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.classifier(self.body(x).mean(1))
            return logits

    student = Fused()
    probe = ProbeAlignment(student, student.classifier, torch.randn(4, 3, 4), torch.arange(4), scope="network")
    with pytest.raises(InputError, match="scope must be 'classifier' for a student of these layers"):
        probe(student(torch.randn(6, 3, 4)), torch.randn(6, CLASSES))


IMAGES, TARGETS = torch.zeros(4, 1, 6, 6), torch.arange(4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classifier": nn.Linear(4, CLASSES)}, "classifier must be a layer of student, got another Linear"),
        ({"classifier": "norm"}, "classifier must be a linear layer, got BatchNorm2d"),
        ({"every": 0}, "every must be >= 1, got 0"),
        ({"size": 0}, "size must be >= 1, got 0"),
        ({"images": IMAGES[:0], "targets": TARGETS[:0]}, "size must be >= 1, got 0"),
        ({"scope": "all"}, "scope must be 'classifier' or 'network', got 'all'"),
        ({"targets": TARGETS[:3]}, r"targets must have shape \[4\]"),
        ({"targets": TARGETS + 3}, r"targets must lie in \[0, 5\)"),
        ({"targets": TARGETS.float()}, "targets must be integer class indices"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    student = _student()
    arguments: dict[str, object] = {"classifier": student.classifier, "images": IMAGES, "targets": TARGETS} | options
    if arguments["classifier"] == "norm":
        arguments["classifier"] = student.norm
    with pytest.raises(InputError, match=message):
        ProbeAlignment(student, **arguments)  # type: ignore[arg-type]
    assert not student.classifier._forward_hooks


def test_nan_logits_are_refused() -> None:
    student = _student()
    probe = _probe(student, "classifier")
    images, teacher_logits, _ = next(_batches(1))
    with pytest.raises(InputError, match="teacher_logits must be finite"):
        probe(student(images), teacher_logits * torch.nan)
