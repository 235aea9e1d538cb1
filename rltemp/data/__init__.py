"""Data in memory: labelled images, their splits, their batches and their augmentation."""

from rltemp.data.augment import Augmentation, Draws, GaussianNoise, HorizontalFlip, Normalize, Shift, concatenate
from rltemp.data.batches import BatchIndices
from rltemp.data.dataset import Dataset
from rltemp.data.digits import load_digits
from rltemp.data.splits import split

__all__ = [
    "Augmentation",
    "BatchIndices",
    "Dataset",
    "Draws",
    "GaussianNoise",
    "HorizontalFlip",
    "Normalize",
    "Shift",
    "concatenate",
    "load_digits",
    "split",
]
