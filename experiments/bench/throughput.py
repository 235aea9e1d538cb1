"""Distillation of resnet56 into resnet20 on images of 32 x 32 px: this package against the usual loop.

The usual loop is what most code of the literature does: torchvision's ImageFolder and transforms in a DataLoader with
two workers, both networks in float32. The workers' time is not counted, only what the training process itself spends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rltemp.data import CIFAR100_MEAN, CIFAR100_STD
from rltemp.distillation import LoopStudents, StackedStudents, Task
from rltemp.distillation.image_views import ViewMinibatches
from rltemp.distillation.policy_population import PolicyPopulation
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import Minibatches
from rltemp.experiments.bench.phases import OTHER, PhaseTimer
from rltemp.experiments.bench.section import AtLeast, Phase, Row, Section
from rltemp.experiments.bench.timing import Floats, interleave, timer
from rltemp.networks import make_network
from rltemp.networks.execution import native_dtype
from rltemp.policies import make_policy
from rltemp.recipes import Recipe, load_recipe
from rltemp.seeding import make_generator
from rltemp.tasks import build_task

__all__ = ["measure", "plain_loader", "plain_loss", "plain_steps", "step_phases", "usual_loop", "write_noise"]

_RECIPE = "cifar100-resnet56-resnet20"
_BATCH = 64
_BANKED = "auto, teacher asked once per view"
_PHASES = (
    (Minibatches, "draw", "data"),
    (ViewMinibatches, "draw", "data"),
    (Teacher, "answer", "teacher"),
    (LoopStudents, "forward", "student"),
    (StackedStudents, "forward", "student"),
    (DistillationRun, "update", "student"),
    (PolicyPopulation, "forward", "policy"),
)


def measure(seconds: float, data: str | None = None) -> Section:
    """Images per second of a KD step, as a ratio to the usual loop's.

    Args:
        seconds: about how long the comparison may take.
        data: a tree train/<class>/*, test/<class>/* of images of 32 x 32 px; by default one of noise is made.
    """
    with _tree(data) as root:
        tasks = {
            "float32": _task(root, precision="float32"),
            "bfloat16": _task(root, precision="bfloat16"),
            _BANKED: _task(root, precision="auto", views=1),
        }
        calls: dict[str, Callable[[], object]] = {name: _advance(task) for name, task in tasks.items()}
        usual = usual_loop(root)
        times = interleave({"usual": lambda: next(usual), **calls}, seconds)
        usual.close()
        phases = step_phases(calls["bfloat16"])
    rows = [Row.of("usual loop", times["usual"], times["usual"] / times["usual"])]
    taken = str(native_dtype(torch.device("cpu"))).removeprefix("torch.")
    for name in tasks:
        bar = AtLeast(1.5) if name in (taken, _BANKED) else None
        rows.append(Row.of(f"rltemp, {name}", times[name], times["usual"] / times[name], bar))
    rows.append(_auto_row(times, taken))
    title = f"throughput: resnet56 to resnet20, batches of {_BATCH} images of 32 x 32 px; then the bfloat16 step"
    return Section(title, "times the usual loop's images per second", tuple(rows), phases)


def _auto_row(times: Mapping[str, Floats], taken: str) -> Row:
    """The precision that `execution.precision: auto` takes here, against the one that it leaves."""
    left = "float32" if taken == "bfloat16" else "bfloat16"
    return Row.of(f"auto: {taken}, in times {left}", times[taken], times[left] / times[taken], AtLeast(1.0))


def _task(root: Path, *, precision: str, views: int | None = None) -> Task:
    recipe = load_recipe(
        _RECIPE,
        {
            "data": {"path": str(root), "train": 4 * _BATCH, "validation": _BATCH, "views": views},
            # How good the teacher is does not matter: it answers as it was initialized.
            "teacher": {"checkpoint": None, "epochs": 0},
            "execution": {"device": "cpu", "precision": precision},
        },
    )
    return build_task(recipe)


def _advance(task: Task) -> Callable[[], None]:
    whole = PolicyRun(task, [make_policy("static")], [0], Recipe().policy)
    return whole.advance


def usual_loop(
    root: Path, device: str = "cpu", pair: tuple[str, str] = ("resnet56", "resnet20"), size: int = _BATCH
) -> Generator[None, None, None]:
    """One KD step per call, as plainly as it can be written.

    Args:
        root: a tree with train/<class>/*, or the folder of torchvision's CIFAR-100.
        device: where networks run; batches are copied to it as usual, from pinned memory.
        pair: names of teacher and student.
        size: of a batch.
    """
    from torchvision import transforms

    augmentation = (transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip())
    loader = plain_loader(
        root, augmentation, (CIFAR100_MEAN, CIFAR100_STD), size, workers=2, pin_memory=device != "cpu"
    )
    classes, shape = len(loader.dataset.classes), (3, 32, 32)
    teacher = make_network(pair[0], classes, shape, make_generator(0)).eval().to(device)
    student = make_network(pair[1], classes, shape, make_generator(1)).to(device)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return plain_steps(loader, teacher, student, optimizer, plain_loss, device)


def plain_loader(
    root: Path,
    augmentation: Sequence[Any],
    moments: tuple[Sequence[float], Sequence[float]],
    batch: int,
    *,
    workers: int,
    pin_memory: bool = False,
) -> Any:
    """Batches of the images below `root`/train, or of torchvision's CIFAR-100 at `root`, as torchvision reads them.

    They are augmented, then normalized by `moments`.
    """
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import CIFAR100, ImageFolder

    whole = transforms.Compose([*augmentation, transforms.ToTensor(), transforms.Normalize(*moments)])
    tree = (root / "train").is_dir()
    images: ImageFolder | CIFAR100 = (
        ImageFolder(str(root / "train"), whole) if tree else CIFAR100(str(root), transform=whole)
    )
    return DataLoader(
        images,
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        generator=make_generator(0),
    )


def plain_steps(
    loader: Any,
    teacher: nn.Module,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    device: str = "cpu",
) -> Generator[None, None, None]:
    """One step per call, without end; the loss is of the student's logits, the teacher's, and the targets."""
    while True:
        for batch, targets in loader:
            batch, targets = batch.to(device, non_blocking=True), targets.to(device, non_blocking=True)
            with torch.no_grad():
                answers = teacher(batch)
            loss = loss_of(student(batch), answers, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield


def plain_loss(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    t: float = 4.0,
    ce_weight: float = 0.1,
    kd_weight: float = 0.9,
) -> Tensor:
    """Distillation at one temperature, as everybody writes it, of logits [N, C] and class indices [N]."""
    softened = F.kl_div(F.log_softmax(student / t, 1), F.softmax(teacher / t, 1), reduction="batchmean")
    return ce_weight * F.cross_entropy(student, targets) + kd_weight * t * t * softened


def step_phases(
    advance: Callable[[], object], steps: int = 10, clock: Callable[[], float] = timer
) -> tuple[Phase, ...]:
    """What one KD step of `advance` is made of, over a few steps by `clock`."""
    advance()
    with PhaseTimer(clock) as watch:
        for owner, name, phase in _PHASES:
            watch.watch(owner, name, phase)
        for _ in range(steps):
            advance()
    return tuple(
        Phase(name, 1e3 * seconds / steps, watch.shares[name])
        for name, seconds in watch.seconds.items()
        if name != OTHER or seconds > 0.0
    )


@contextmanager
def _tree(data: str | None) -> Iterator[Path]:
    if data is not None:
        yield Path(data)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder), {"train": 64, "test": 2}, 32, "png")
        yield Path(folder)


def write_noise(root: Path, counts: Mapping[str, int], side: int, suffix: str) -> None:
    """Ten classes of noise images, `counts` of each class in every part of a tree below `root`."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in counts.items():
        for name in range(10):
            place = root / part / str(name)
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.{suffix}")
