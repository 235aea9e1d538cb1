"""Conditions that a recipe sets its networks: wrong labels, blended images, classes that the teacher never sees."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import torch
from torch import Tensor

from rltemp.data import Dataset, ImageFiles
from rltemp.errors import InputError

__all__ = ["classes_seen", "with_junk", "with_label_noise"]

Images = TypeVar("Images", Dataset, ImageFiles)


def with_label_noise(data: Images, share: float, generator: torch.Generator) -> Images:
    """Replace each label, with probability `share`, by a random one.

    In windows of a text, labels are characters: a wrong one stands in the text as well, before those that follow it.
    """
    shape = data.targets.shape
    chosen = torch.rand(shape, generator=generator) < share
    random = torch.randint(data.classes, shape, generator=generator)
    noisy = torch.where(chosen, random, data.targets)
    if isinstance(data, Dataset) and data.positions is not None:
        return dataclasses.replace(data, images=torch.cat([data.images[:, :1], noisy[:, :-1]], dim=1), targets=noisy)
    return dataclasses.replace(data, targets=noisy)


def with_junk(data: Dataset, share: float, generator: torch.Generator) -> Dataset:
    """Replace each instance, with probability `share`, by its blend with another one; its label stays.

    Numbers are blended to their mean, rounded to even for uint8; of token ids, each comes from one of the two.

    Args:
        data: N instances, N >= 2, on the CPU.
        share: in [0, 1].
        generator: draws which instances, with which others, and the positions of the token ids.
    """
    chosen = (torch.rand(len(data), generator=generator) < share).nonzero()[:, 0]
    # A step of 1 to N - 1 around the circle of instances never leads back to where it started.
    others = (chosen + torch.randint(1, len(data), (len(data),), generator=generator)[chosen]) % len(data)
    images = data.images.clone()
    images[chosen] = _blend(data.images[chosen], data.images[others], generator)
    return dataclasses.replace(data, images=images)


def classes_seen(classes: int, without: float) -> int:
    """How many classes, the first ones, a teacher sees that does without this share of them.

    Args:
        classes: number of classes C.
        without: share of them, in [0, 1).

    Raises:
        InputError: for a share > 0 that is no whole class, or that leaves fewer than 2.
    """
    left_out = round(without * classes)
    if without and (left_out == 0 or classes - left_out < 2):
        raise InputError(
            f"teacher.without must be 0, or leave out at least 1 and leave at least 2 of {classes} classes, "
            f"got {without:g}, which is {left_out} of them"
        )
    return classes - left_out


def _blend(a: Tensor, b: Tensor, generator: torch.Generator) -> Tensor:
    """Halfway between instances `a` and `b`, both [M, ...] of one dtype."""
    if a.dtype == torch.int64:
        return torch.where(torch.rand(a.shape, generator=generator) < 0.5, a, b)
    if a.dtype == torch.uint8:
        return ((a.float() + b.float()) / 2.0).round().to(torch.uint8)
    return (a + b) / 2.0
