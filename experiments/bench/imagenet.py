"""A recipe of ImageNet on images on disk, JPEG files and all, against a plain loop of torchvision.

Both decode, crop at random, resize and mirror in the training process itself, so that all of the work is counted, and
compute both networks in float32. Real runs differ in size, and decode in processes of their own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from functools import partial
from pathlib import Path

import torch

from rltemp.distillation.policy_run import PolicyRun
from rltemp.experiments.bench.section import Row, Section
from rltemp.experiments.bench.throughput import plain_loader, plain_loss, plain_steps, write_noise
from rltemp.experiments.bench.timing import interleave
from rltemp.policies import make_policy
from rltemp.recipes import load_recipe
from rltemp.tasks import build_task
from rltemp.tasks.sources.folder import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["measure"]

_RECIPE = "imagenet-resnet34-resnet18"


def measure(seconds: float, *, side: int = 64, batch: int = 16) -> Section:
    """Images per second of a KD step on images on disk, as a ratio to the plain loop's.

    Args:
        seconds: about how long the comparison may take.
        side: of the crops, in pixels; files have twice as many.
        batch: images per step.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_noise(root, {"train": batch, "val": 1}, 2 * side, "jpg")
        plain, ours = _plain_loop(root, side, batch), _run(root, side, batch)
        times = interleave({"plain loop": lambda: next(plain), "rltemp": ours.advance}, seconds)
        plain.close()
    rows = [Row.of(name, times[name], times["plain loop"] / times[name]) for name in times]
    title = f"imagenet: resnet34 to resnet18, batches of {batch} JPEG files, crops of {side} x {side} px"
    return Section(title, "times the plain loop's images per second", tuple(rows))


def _run(root: Path, side: int, batch: int) -> PolicyRun:
    recipe = load_recipe(
        _RECIPE,
        {
            "data": {"path": str(root), "train": 9 * batch, "validation": batch, "image_size": side, "workers": 0},
            # How good the teacher is does not matter: it answers as it was initialized.
            "teacher.checkpoint": None,
            "optimization": {"batch_size": batch, "epochs": 10_000},
            "execution": {"device": "cpu", "precision": "float32", "channels_last": False},
        },
    )
    return PolicyRun(build_task(recipe), [make_policy("static", temperature=1.0)], [0], recipe.policy)


def _plain_loop(root: Path, side: int, batch: int) -> Generator[None, None, None]:
    from torchvision import models, transforms

    augmentation = (transforms.RandomResizedCrop(side), transforms.RandomHorizontalFlip())
    loader = plain_loader(root, augmentation, (IMAGENET_MEAN, IMAGENET_STD), batch, workers=0)
    teacher, student = models.resnet34(num_classes=10).eval(), models.resnet18(num_classes=10)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loss = partial(plain_loss, t=1.0, ce_weight=0.5, kd_weight=0.5)
    return plain_steps(loader, teacher, student, optimizer, loss)
