"""MNIST-1D (Greydanus and Kobak, "Scaling down deep learning with MNIST-1D", 2024), made as it was published."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from rltemp.data.dataset import Dataset

__all__ = ["load_mnist1d"]

Signal = npt.NDArray[np.float64]

_TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
"""The strokes of the ten digits at 12 points."""
_PADDING = (36, 60)
_SCALE, _SHEAR, _FARTHEST = 0.4, 0.75, 48
_CORRELATED_NOISE, _NOISE = 0.25, 0.02
_LENGTH = 40


def load_mnist1d(
    generator: np.random.RandomState | None = None, *, train: int = 4000, test: int = 1000
) -> tuple[Dataset, Dataset]:
    """Training and test signals [N, 1, 40] float32 in 10 classes, of mean 0 and standard deviation 1 over all of them.

    Each is a digit's stroke of 12 points, padded, scaled, shifted around, with correlated noise where there is none of
    it, sheared and resampled. With the default generator, of seed 42, they are bit for bit those that
    `mnist1d.data.make_dataset` of the authors' package (0.0.2) makes, rounded to float32.

    Args:
        generator: draws everything. It is of NumPy's frozen kind, whose stream never changes.
        train: number of training signals.
        test: number of test signals; both together a multiple of 10.
    """
    from scipy.ndimage import gaussian_filter1d  # half a second to import, and other data do without it

    generator = generator or np.random.RandomState(42)
    strokes = _strokes()
    targets = np.arange(10).repeat((train + test) // 10)
    drawn = zip(*(_draw(strokes[target], generator) for target in targets), strict=True)
    moved, correlated, independent, slopes = (np.stack(part) for part in drawn)
    noise = gaussian_filter1d(_CORRELATED_NOISE * correlated, 2, axis=1)
    signals = np.where(moved != 0, moved, noise) + _NOISE * independent
    signals -= slopes[:, None] * np.linspace(-0.5, 0.5, signals.shape[1])
    signals = np.stack([_resampled(signal, _LENGTH) for signal in signals])
    order = generator.permutation(len(targets))
    signals, targets = signals[order], targets[order]
    signals = (signals - signals.mean()) / signals.std()
    images = torch.from_numpy(signals.astype(np.float32)).unsqueeze(1)
    labels = torch.from_numpy(targets.astype(np.int64))
    return Dataset(images[:train], labels[:train], 10), Dataset(images[train:], labels[train:], 10)


def _strokes() -> Signal:
    """[10, 12]: each standardized, then moved to start at zero."""
    strokes = np.array(_TEMPLATES, dtype=np.float64)
    strokes -= strokes.mean(1, keepdims=True)
    strokes /= strokes.std(1, keepdims=True)
    strokes -= strokes[:, :1]
    return strokes / 6.0


def _draw(stroke: Signal, generator: np.random.RandomState) -> tuple[Signal, Signal, Signal, float]:
    """A moved stroke [72], zero where there is none, two normal noises [72], and a slope."""
    low, high = _PADDING
    padding = np.zeros(low + int(generator.rand() * (high - low + 1)))
    # A little more than zero, so that padding alone is exactly that.
    signal = _resampled(np.concatenate([stroke + 1e-8, padding]), len(stroke) + high)
    signal *= 1 + _SCALE * (generator.rand() - 0.5)
    signal = np.roll(signal, generator.choice(_FARTHEST))
    noises = generator.randn(len(signal)), generator.randn(len(signal))
    return signal, *noises, _SHEAR * (generator.rand() - 0.5)


def _resampled(signal: Signal, length: int) -> Signal:
    """`signal` at `length` equally spaced points, between its own by straight lines."""
    return np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(signal)), signal)
