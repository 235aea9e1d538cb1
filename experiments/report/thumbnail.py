"""A small picture of one instance: of an image its pixels, of a signal its curve, of anything else none."""

from __future__ import annotations

import base64
import io

import numpy as np
from torch import Tensor

__all__ = ["curve", "thumbnail"]

_SIDE = 48
"""Pixels of the longer side, at most."""

_POINTS = 64


def thumbnail(instance: Tensor, low: float, high: float, text: str) -> str:
    """An element of a page.

    Args:
        instance: [1, H, W] or [3, H, W], an image; [L] or [1, L], a signal; or of another shape or int64, of which
            there is no picture.
        low: the value that is black, or the bottom.
        high: the value that is white, or the top; greater than `low`.
        text: what the picture shows, without characters that HTML reserves.

    Returns:
        HTML without references to other files; nothing if there is no picture.
    """
    if not (instance.is_floating_point() or instance.element_size() == 1):
        return ""
    shares = ((instance.double().cpu() - low) / (high - low)).clamp(0, 1).numpy()
    if shares.ndim == 3 and len(shares) in (1, 3):
        return f'<img class="instance" alt="{text}" src="data:image/png;base64,{_png(shares)}">'
    if shares.size == shares.shape[-1]:
        signal = shares.reshape(-1)
        signal = signal[:: -(-len(signal) // _POINTS)]
        places = np.linspace(0, 100, len(signal))
        return curve([(float(x), float(y)) for x, y in zip(places, signal, strict=True)], "signal", text)
    return ""


def curve(points: list[tuple[float, float]], kind: str, text: str = "") -> str:
    """A line through points: x in [0, 100], y in [0, 1] from bottom to top; a dot where there is one point alone."""
    said = f'role="img" aria-label="{text}"' if text else 'aria-hidden="true"'
    places = [(x, 3 + 34 * (1 - y)) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in places) if len(places) == 1 else ""
    box = 'viewBox="-3 0 106 40" preserveAspectRatio="none"'
    return f'<svg class="{kind}" {box} {said}><polyline points="{line}"/>{dots}</svg>'


def _png(shares: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    """An image [C, H, W] in [0, 1], C of 1 or 3, as PNG in base64, no larger than is shown."""
    from PIL import Image

    pixels = np.rint(255 * shares).astype(np.uint8)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
