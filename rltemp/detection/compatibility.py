"""Whether two detectors and a batch fit together: errors before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rltemp.checks import values_are_readable
from rltemp.errors import InputError, short

__all__ = ["check_batch", "check_detector", "check_pair", "classes_of"]

_PARTS = (
    "transform",
    "backbone",
    "rpn",
    "roi_heads.box_roi_pool",
    "roi_heads.box_head",
    "roi_heads.box_predictor",
)
"""Modules that every torchvision Faster R-CNN has."""

_GEOMETRY = ("min_size", "max_size", "fixed_size", "size_divisible")
_COLOR = ("image_mean", "image_std")


def check_detector(name: str, detector: nn.Module) -> None:
    """Raise `InputError`, which calls `detector` by `name`, unless it has the parts of torchvision's Faster R-CNN."""
    if not isinstance(detector, nn.Module):
        raise InputError(f"{name} must be a torchvision Faster R-CNN, got {type(detector).__name__}")
    parts = dict(detector.named_modules())
    missing = [part for part in _PARTS if part not in parts]
    if missing:
        raise InputError(
            f"{name} must be a torchvision Faster R-CNN, got {type(detector).__name__} without {missing[0]}"
        )


def check_pair(student: nn.Module, teacher: nn.Module) -> None:
    """Raise `InputError` unless both detectors transform images alike, and have as many classes where that is known.

    Proposals are boxes on the student's transformed images; on other images they would mean something else.
    """
    check_detector("student", student)
    check_detector("teacher", teacher)
    for field in (*_GEOMETRY, *_COLOR):
        ours, theirs = (_plain(getattr(network.transform, field, None)) for network in (student, teacher))
        if ours != theirs:
            raise InputError(f"teacher must transform images as the student does, {field}={ours}, got {field}={theirs}")
    wanted, got = classes_of(student), classes_of(teacher)
    if None not in (wanted, got) and wanted != got:
        raise InputError(f"teacher must have the student's {wanted} classes, background among them, got {got}")


def classes_of(detector: nn.Module) -> int | None:
    """Number of logits C + 1 per proposal, background among them; None for a predictor of one's own that hides it."""
    heads: Any = detector.roi_heads
    count = getattr(getattr(heads.box_predictor, "cls_score", None), "out_features", None)
    return count if isinstance(count, int) else None


def check_batch(images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]], classes: int | None) -> None:
    """Raise `InputError` unless there is an image, and for each a target as torchvision's detectors take it.

    An image may have no box.

    Args:
        images: [Ch, H, W] each.
        targets: with "boxes", [M, 4] floating point, and "labels", [M] int64 in [1, classes).
        classes: number of classes C + 1, background among them; None where it is not known.
    """
    if isinstance(images, Tensor) or not images:
        raise InputError(f"images must be a list of at least one tensor [Ch, H, W], got {_count(images)}")
    if targets is None or len(targets) != len(images):
        raise InputError(f"targets must be a list of {len(images)}, one per image, got {_count(targets)}")
    for index, target in enumerate(targets):
        _check_target(f"targets[{index}]", target, classes)


def _check_target(name: str, target: Mapping[str, Tensor], classes: int | None) -> None:
    for key in ("boxes", "labels"):
        if not isinstance(target, Mapping) or not isinstance(target.get(key), Tensor):
            raise InputError(f"{name} must have a tensor {key!r}, got {short(target)}")
    boxes, labels = target["boxes"], target["labels"]
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
        raise InputError(f"{name}['boxes'] must be floating point [M, 4], got {boxes.dtype} {list(boxes.shape)}")
    if labels.shape != boxes.shape[:1] or labels.dtype != torch.int64:
        raise InputError(
            f"{name}['labels'] must be int64 [{len(boxes)}], one per box, got {labels.dtype} {list(labels.shape)}"
        )
    if not len(boxes) or not values_are_readable(labels):
        return
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 1 or (classes is not None and high >= classes):
        want = "be >= 1" if classes is None else f"lie in [1, {classes})"
        raise InputError(f"{name}['labels'] must {want}, 0 being background, got values from {low} to {high}")
    if not bool((boxes[:, 2:] > boxes[:, :2]).all()):
        raise InputError(f"{name}['boxes'] must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, got a box without area")


def _plain(value: Any) -> Any:
    """One spelling of a field that may be a number, a list, or a tuple."""
    return tuple(value) if isinstance(value, list | tuple) else value


def _count(value: Any) -> str:
    return str(len(value)) if isinstance(value, list | tuple) else type(value).__name__
