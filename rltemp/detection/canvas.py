"""Digits pasted on a canvas: a detection task out of data that come with scikit-learn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rltemp.data.dataset import Dataset
from rltemp.detection.boxed_images import BoxedImages
from rltemp.errors import InputError

__all__ = ["paste_digits"]

_SMALLEST, _LARGEST = 12, 28
"""Sides of a pasted digit, in pixels."""

_NOISE = 0.15
"""Standard deviation of the canvas, where ink is 1."""

_TRIES = 10
"""Places tried for a digit that would overlap another; then it is left out."""


def paste_digits(
    digits: Dataset, count: int, generator: torch.Generator, *, side: int = 64, most: int = 5
) -> BoxedImages:
    """Gray canvases of noise, each with 1 to `most` digits of 12 to 28 px that do not overlap.

    Boxes are the frames of the pasted images; labels are the digit's class plus 1.

    Args:
        digits: images [N, 1, h, w] in [0, 1] to paste.
        count: number of canvases, >= 1.
        generator: draws digits, sizes, places and noise.
        side: height and width of a canvas in pixels, >= 28.
        most: largest number of digits on a canvas, >= 1.

    Raises:
        InputError: for a number out of its range.
    """
    for name, value, low in (("count", count, 1), ("side", side, _LARGEST), ("most", most, 1)):
        if value < low:
            raise InputError(f"{name} must be >= {low}, got {value}")
    canvases = [_canvas(digits, generator, side, most) for _ in range(count)]
    images, boxes, labels = zip(*canvases, strict=True)
    names = tuple(str(digit) for digit in range(digits.classes))
    return BoxedImages(torch.stack(images), boxes, labels, names)


def _canvas(digits: Dataset, generator: torch.Generator, side: int, most: int) -> tuple[Tensor, Tensor, Tensor]:
    ink = _NOISE * torch.randn(1, side, side, generator=generator).abs()
    boxes: list[list[int]] = []
    labels: list[int] = []
    for _ in range(_integer(generator, 1, most)):
        size = _integer(generator, _SMALLEST, _LARGEST)
        index = _integer(generator, 0, len(digits) - 1)
        box = _free_place(boxes, size, side, generator)
        if box is None:
            continue
        x, y = box[:2]
        pasted = F.interpolate(digits.images[index, None].float(), size=(size, size), mode="bilinear")[0]
        ink[:, y : y + size, x : x + size] += pasted
        boxes.append(box)
        labels.append(int(digits.targets[index]) + 1)
    image = (255 * ink.clamp(max=1.0)).to(torch.uint8)
    return image, torch.tensor(boxes, dtype=torch.float32), torch.tensor(labels)


def _free_place(boxes: list[list[int]], size: int, side: int, generator: torch.Generator) -> list[int] | None:
    for _ in range(_TRIES):
        x, y = _integer(generator, 0, side - size), _integer(generator, 0, side - size)
        if all(x >= right or y >= bottom or x + size <= left or y + size <= top for left, top, right, bottom in boxes):
            return [x, y, x + size, y + size]
    return None


def _integer(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number in [low, high], both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
