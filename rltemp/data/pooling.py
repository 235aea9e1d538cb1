"""Reducing the size of images by average pooling."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn.functional import avg_pool2d

from rltemp.data.dataset import Dataset
from rltemp.errors import InputError

__all__ = ["average_pool"]

_CHUNK = 4096


def average_pool(dataset: Dataset, side: int) -> Dataset:
    """Average square images down to `side` x `side` px; means of uint8 images are rounded, half to even.

    Args:
        dataset: images [N, C, H, H].
        side: height and width of the result; a divisor of H.

    Raises:
        InputError: for images that are not square, or whose side is no multiple of `side`.
    """
    shape = dataset.shape
    if len(shape) != 3 or shape[1] != shape[2] or side < 1 or shape[1] % side:
        raise InputError(f"side must divide that of square images [C, H, H], got {side} for {list(shape)}")
    window = shape[1] // side
    if window == 1:
        return dataset
    # In chunks, since all images in floating point would be four times as large as the data.
    chunks = [avg_pool2d(chunk.to(torch.float32), window) for chunk in dataset.images.split(_CHUNK)]
    if dataset.images.dtype == torch.uint8:
        chunks = [chunk.round().to(torch.uint8) for chunk in chunks]
    return dataclasses.replace(dataset, images=torch.cat(chunks))
