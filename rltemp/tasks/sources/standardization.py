"""Mean and deviation of pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from rltemp.data import Normalize

__all__ = ["standardization"]

_CHUNK = 4096


def standardization(images: Tensor) -> Normalize:
    """Mean 0 and standard deviation 1 by channel over `images` uint8 [N, C, H, W]."""
    total, squares = (torch.zeros(images.shape[1], dtype=torch.float64) for _ in range(2))
    for chunk in images.split(_CHUNK):
        pixels = chunk.double() / 255.0
        total += pixels.sum((0, 2, 3))
        squares += pixels.square().sum((0, 2, 3))
    count = images.numel() / images.shape[1]
    mean = total / count
    # A channel without any contrast is left unscaled.
    std = (squares / count - mean.square()).clamp(min=0.0).sqrt()
    std = torch.where(std > 1e-6, std, torch.ones_like(std))
    return Normalize(tuple(mean.tolist()), tuple(std.tolist()))
