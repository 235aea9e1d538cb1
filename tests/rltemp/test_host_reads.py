"""On an accelerator no update makes the host wait.

The device "meta" stands for the accelerator. Its tensors hold no data, so that every read of a value raises: `item`,
`bool`, `equal`, `nonzero` and what is built on them, copies to the CPU. What it would let pass, copies from the CPU
that wait, a dispatch mode notices.
"""

import dataclasses
import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import rltemp
from rltemp import DistillationLoss, LearnedPolicy, LogitFeatures, ProbeAlignment, TemperaturePolicy, make_policy
from rltemp.data import Augmentation, Dataset, GaussianNoise, HorizontalFlip, Normalize, Shift
from rltemp.distillation import Task
from rltemp.distillation.image_views import ImageViews
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import ImagesInMemory
from rltemp.experiments.evaluation.trace import TraceRecorder
from rltemp.features import ALIGNED_FEATURES, LOGIT_FEATURES
from rltemp.networks import Network, make_network
from rltemp.objectives import DKD, ReverseKD
from rltemp.objectives.features import CRD, Activations
from rltemp.policies import list_policies
from rltemp.policies.static import StaticPolicy
from rltemp.recipes.schema import Optimization, PolicySpace
from rltemp.seeding import make_generator
from rltemp.temperatures import Temperatures
from rltemp.tokens import TopK, linear_distillation_loss, linear_kd_loss, linear_temperatures, sparse_distillation_loss

META = torch.device("meta")
BATCH, CLASSES = 8, 10


class HostWaitError(AssertionError):
    """The host would have waited for the accelerator."""


class NoWaiting(TorchDispatchMode):
    """Refuses copies from the CPU to the accelerator that wait; those that read from it fail by themselves."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        answers = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        arrives = any(answer.device == META for answer in answers)
        # A tensor of the CPU without dimensions goes along as an argument of the kernel.
        copied = arrives and any(tensor.is_cpu and tensor.ndim > 0 for tensor in tensors)
        listed = func is torch.ops.aten.lift_fresh.default and arrives  # a tensor out of a list
        if listed or (copied and not kwargs.get("non_blocking", False)):
            raise HostWaitError(f"{func} copies from the CPU, and waits")
        return result


@pytest.fixture(autouse=True)
def random_state_of_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch asks the module of a device's name for it; of CUDA's, the host keeps the state."""
    module = SimpleNamespace(get_rng_state=lambda device: None, set_rng_state=lambda state, device: None)
    monkeypatch.setattr(torch, "meta", module, raising=False)


def _learned(features: tuple[str, ...]) -> LearnedPolicy:
    # On the CPU, where it was read: whoever uses it brings it to the accelerator.
    return LearnedPolicy(LogitFeatures(features), (5,))


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    student = torch.empty(BATCH, CLASSES, device=META, requires_grad=True)
    return student, torch.empty(BATCH, CLASSES, device=META), torch.zeros(BATCH, dtype=torch.int64, device=META)


REUSED: dict[str, Callable[[], TemperaturePolicy]] = {
    **{name: functools.partial(make_policy, name) for name in list_policies()},
    "ctkd-instance": lambda: make_policy("ctkd-instance", classes=CLASSES),
    "learned": lambda: _learned(LOGIT_FEATURES),
    "learned, aligned": lambda: _learned(ALIGNED_FEATURES),
}


@pytest.mark.parametrize("name", REUSED)
def test_the_five_lines_do_not_wait(name: str) -> None:
    policy: TemperaturePolicy = REUSED[name]().to(META)
    with NoWaiting():
        student, teacher, targets = _batch()
        alignment = torch.empty(BATCH, 7, device=META) if "alignment" in policy.needs else None
        temperatures = policy(student, teacher, targets, 0.5, alignment)
        rltemp.kd_loss(student, teacher, temperatures).mean().backward()


@pytest.mark.parametrize("name", REUSED)
@pytest.mark.parametrize("objective", [None, DKD()])
def test_the_criterion_does_not_wait(name: str, objective: Any) -> None:
    criterion = DistillationLoss(REUSED[name](), objective, warmup=0.1, plain_weight=0.5).to(META)
    with NoWaiting():
        student, teacher, targets = _batch()
        alignment = torch.empty(BATCH, 7, device=META) if "alignment" in criterion.policy.needs else None
        criterion(student, teacher, targets, 0.5, alignment).backward()


@pytest.mark.parametrize("name", ["static", "ctkd", "spread", "adakd", "learned"])
def test_losses_of_hidden_states_do_not_wait(name: str) -> None:
    criterion = DistillationLoss(REUSED[name](), ReverseKD()).to(META)
    hidden, weight = (torch.empty(n, 4, device=META, requires_grad=True) for n in (BATCH, CLASSES))
    targets, mask = _batch()[2], torch.empty(BATCH, dtype=torch.bool, device=META)
    teacher = TopK(torch.empty(BATCH, 3, device=META), torch.empty(BATCH, 3, dtype=torch.int32, device=META), CLASSES)
    with NoWaiting():
        heads = (hidden, weight, hidden.detach(), weight.detach())
        linear_distillation_loss(criterion, *heads, targets, 0.5, mask, chunk=3).backward()
        sparse_distillation_loss(criterion, hidden, weight, teacher, targets, 0.5, mask, chunk=3).backward()
        temperatures = linear_temperatures(criterion.policy, *heads, targets, 0.5, mask, chunk=3)
        linear_kd_loss(*heads, temperatures, chunk=3).sum().backward()


@pytest.mark.parametrize("scope", ["classifier", "network"])
@pytest.mark.parametrize("size", [None, 5])
def test_the_probe_alignment_does_not_wait(scope: Any, size: int | None) -> None:
    student = make_network("mlp", CLASSES, (1, 8, 8), make_generator(0), hidden=[6]).to(META)
    images, targets = torch.empty(20, 1, 8, 8, device=META), torch.zeros(20, dtype=torch.int64, device=META)
    with ProbeAlignment(student, student.classifier, images, targets, size=size, scope=scope) as probe, NoWaiting():
        for _ in range(2):
            logits = student(torch.empty(BATCH, 1, 8, 8, device=META))
            assert probe(logits, torch.empty_like(logits)).shape == (BATCH, 7)


def test_contrastive_distillation_does_not_wait() -> None:
    crd = CRD(6, 5, 20, embedding=4, negatives=3).to(META)
    with NoWaiting():
        student, teacher = (
            Activations(torch.empty(BATCH, CLASSES, device=META), torch.empty(BATCH, width, device=META))
            for width in (6, 5)
        )
        crd(student, teacher, torch.zeros(BATCH, dtype=torch.int64, device=META)).backward()


def _task(network: str, *, stacked: bool, views: bool) -> Task:
    """Images of pixels, augmented in every way there is, on the accelerator."""
    shape, transforms = (3, 8, 8), (Shift(1), HorizontalFlip(), Normalize((0.5,) * 3, (0.2,) * 3))
    augmentation = Augmentation((*transforms, GaussianNoise(0.1, shape)))
    images = torch.empty(32, *shape, dtype=torch.uint8, device=META)
    data = Dataset(images, torch.zeros(32, dtype=torch.int64, device=META), CLASSES)
    options: dict[str, Any] = {"mlp": {"hidden": [6]}, "cnn": {"channels": [4, 4]}}[network]

    def build(generator: torch.Generator) -> Network:
        return make_network(network, CLASSES, shape, generator, **options)

    training = ImagesInMemory(data, augmentation)
    network_of_teacher = build(make_generator(1)).to(META).requires_grad_(False)
    return Task(
        training=ImageViews(training, 2, make_generator(0, "views")) if views else training,
        probe=data,
        validation=data,
        test=data,
        teacher=Teacher(network_of_teacher, torch.empty(64, CLASSES, device=META) if views else None),
        make_student=build,
        optimization=Optimization(epochs=2, batch_size=BATCH),
        stacked=stacked,
    )


TASKS: dict[str, dict[str, Any]] = {
    "stacked": {"network": "mlp", "stacked": True, "views": False},
    "views": {"network": "mlp", "stacked": True, "views": True},
    "batch normalization": {"network": "cnn", "stacked": False, "views": False},
}


def _advance(task: Task, name: str, scope: Literal["classifier", "network"]) -> None:
    whole = PolicyRun(task, [REUSED[name]() for _ in range(2)], [0, 1], PolicySpace(alignment=scope, probe_size=20))
    with NoWaiting():
        for _ in range(3):
            whole.advance()


@pytest.mark.parametrize("name", REUSED)
def test_an_update_does_not_wait(name: str) -> None:
    _advance(_task("mlp", stacked=True, views=False), name, "classifier")


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", ["static", "learned, aligned"])
def test_an_update_of_any_task_does_not_wait(name: str, kind: str) -> None:
    _advance(_task(**TASKS[kind]), name, "network")


def test_no_update_of_the_default_way_to_distill_reads_anything() -> None:
    """As `rltemp distill` makes them: one student, watched, the teacher's logits banked; counted over a whole epoch."""
    whole = PolicyRun(_task("cnn", stacked=False, views=True), [REUSED["static"]()], [0], PolicySpace(probe_size=20))
    updates = whole.run.task.steps // whole.run.task.optimization.epochs
    recorder = TraceRecorder(updates)
    with NoWaiting():
        for _ in range(updates):
            whole.advance(recorder)
    assert whole.run.step == updates
    assert len(recorder._moments) == updates
    with pytest.raises(NotImplementedError, match="meta"):
        recorder.trace()


@pytest.mark.parametrize("size", [20, 32])
def test_an_update_with_the_probe_in_its_loss_does_not_wait(size: int) -> None:
    task = _task("cnn", stacked=False, views=False)
    task = dataclasses.replace(task, optimization=dataclasses.replace(task.optimization, probe_weight=0.5))
    whole = PolicyRun(task, [REUSED["static"]() for _ in range(2)], [0, 1], PolicySpace(probe_size=size, every=2))
    with NoWaiting():
        for _ in range(3):
            whole.advance()


PLANTED: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).all()),
    "float": lambda x: float(x.sum()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "numpy": lambda x: x.detach().numpy(),
    "equal": lambda x: torch.equal(x, x),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "repeat": lambda x: x.repeat_interleave(torch.ones(len(x), dtype=torch.int64, device=META), dim=0),
    "list": lambda x: x * torch.tensor([2.0] * CLASSES, device=META),
    "copy": lambda x: x + torch.ones(CLASSES).to(META),
    "fill": lambda x: x.detach().copy_(torch.ones(CLASSES)),
    "number": lambda x: x + torch.as_tensor(0.5, device=META),
    "index": lambda x: x[torch.arange(3)],
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_wait_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a policy, whose update would otherwise pass."""

    def choose(self: StaticPolicy, student_logits: Tensor, *others: Any) -> Temperatures:
        PLANTED[name](student_logits)
        return Temperatures.shared(student_logits.new_ones(len(student_logits)))

    monkeypatch.setattr(StaticPolicy, "choose", choose)
    with pytest.raises((HostWaitError, RuntimeError, TypeError)):
        _advance(_task("mlp", stacked=True, views=False), "static", "classifier")
