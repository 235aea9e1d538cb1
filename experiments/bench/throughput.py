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
from rltemp.distillation import LoopStudents, Task
from rltemp.distillation.image_views import ViewMinibatches
from rltemp.distillation.policy_population import PolicyPopulation
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.run import DistillationRun
from rltemp.distillation.teacher import Teacher
from rltemp.distillation.training_images import Minibatches
from rltemp.experiments.bench.phases import OTHER, PhaseTimer
from rltemp.experiments.bench.section import AtLeast, Phase, Row, Section
from rltemp.experiments.bench.timing import interleave
from rltemp.networks import make_network
from rltemp.policies import make_policy
from rltemp.recipes import Recipe, load_recipe
from rltemp.seeding import make_generator
from rltemp.tasks import build_task

__all__ = ["measure", "plain_loader", "plain_steps", "write_noise"]

_RECIPE = "cifar100-resnet56-resnet20"
_BATCH = 64
_PHASES = (
    (Minibatches, "draw", "data"),
    (ViewMinibatches, "draw", "data"),
    (Teacher, "answer", "teacher"),
    (LoopStudents, "forward", "student"),
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
            "bfloat16, teacher asked once per view": _task(root, precision="bfloat16", views=1),
        }
        calls: dict[str, Callable[[], object]] = {name: _advance(task) for name, task in tasks.items()}
        usual = _usual_loop(root)
        times = interleave({"usual": lambda: next(usual), **calls}, seconds)
        usual.close()
        phases = _phases(tasks["bfloat16"])
    rows = [Row.of("usual loop", times["usual"], times["usual"] / times["usual"])]
    for name in tasks:
        bar = None if name == "float32" else AtLeast(1.5)
        rows.append(Row.of(f"rltemp, {name}", times[name], times["usual"] / times[name], bar))
    title = f"throughput: resnet56 to resnet20, batches of {_BATCH} images of 32 x 32 px; then the bfloat16 step"
    return Section(title, "times the usual loop's images per second", tuple(rows), phases)


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


def _usual_loop(root: Path) -> Generator[None, None, None]:
    """One KD step per call, as plainly as it can be written."""
    from torchvision import transforms

    augmentation = (transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip())
    loader = plain_loader(root, augmentation, (CIFAR100_MEAN, CIFAR100_STD), _BATCH, workers=2)
    classes, shape = len(loader.dataset.classes), (3, 32, 32)
    teacher = make_network("resnet56", classes, shape, make_generator(0)).eval()
    student = make_network("resnet20", classes, shape, make_generator(1))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return plain_steps(loader, teacher, student, optimizer, _usual_loss)


def plain_loader(
    root: Path, augmentation: Sequence[Any], moments: tuple[Sequence[float], Sequence[float]], batch: int, workers: int
) -> Any:
    """Batches of the images below `root`/train, as torchvision reads them: augmented, then normalized by `moments`."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    whole = transforms.Compose([*augmentation, transforms.ToTensor(), transforms.Normalize(*moments)])
    return DataLoader(
        ImageFolder(str(root / "train"), whole),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=make_generator(0),
    )


def plain_steps(
    loader: Any,
    teacher: nn.Module,
    student: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Generator[None, None, None]:
    """One step per call, without end; the loss is of the student's logits, the teacher's, and the targets."""
    while True:
        for batch, targets in loader:
            with torch.no_grad():
                answers = teacher(batch)
            loss = loss_of(student(batch), answers, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield


def _usual_loss(student: Tensor, teacher: Tensor, targets: Tensor, t: float = 4.0) -> Tensor:
    softened = F.kl_div(F.log_softmax(student / t, 1), F.softmax(teacher / t, 1), reduction="batchmean")
    return 0.1 * F.cross_entropy(student, targets) + 0.9 * t * t * softened


def _phases(task: Task, steps: int = 10) -> tuple[Phase, ...]:
    advance = _advance(task)
    advance()
    with PhaseTimer() as clock:
        for owner, name, phase in _PHASES:
            clock.watch(owner, name, phase)
        for _ in range(steps):
            advance()
    return tuple(
        Phase(name, 1e3 * seconds / steps, clock.shares[name])
        for name, seconds in clock.seconds.items()
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
