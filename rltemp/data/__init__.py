"""Data: labeled images in memory or on disk, texts, their splits, batches, and augmentation."""

from rltemp.data.augment import (
    Augmentation,
    Draws,
    GaussianNoise,
    HorizontalFlip,
    Normalize,
    Shift,
    Transform,
    concatenate,
)
from rltemp.data.batches import BatchIndices
from rltemp.data.characters import ALPHABET, cut_text, decode, encode, shakespeare_sample
from rltemp.data.cifar100 import CIFAR100_MEAN, CIFAR100_STD, cifar100_augmentation, load_cifar100
from rltemp.data.dataset import Dataset
from rltemp.data.digits import load_digit_pairs, load_digits
from rltemp.data.fashion import load_fashion
from rltemp.data.folder import ImageFiles, list_images, load_image_folder
from rltemp.data.loader import FolderBatch, FolderLoader, decode_centers
from rltemp.data.mnist1d import load_mnist1d
from rltemp.data.news import load_news, news_texts
from rltemp.data.pooling import average_pool
from rltemp.data.speech import load_spoken_digits
from rltemp.data.splits import split
from rltemp.data.topics import load_topics

__all__ = [
    "ALPHABET",
    "CIFAR100_MEAN",
    "CIFAR100_STD",
    "Augmentation",
    "BatchIndices",
    "Dataset",
    "Draws",
    "FolderBatch",
    "FolderLoader",
    "GaussianNoise",
    "HorizontalFlip",
    "ImageFiles",
    "Normalize",
    "Shift",
    "Transform",
    "average_pool",
    "cifar100_augmentation",
    "concatenate",
    "cut_text",
    "decode",
    "decode_centers",
    "encode",
    "list_images",
    "load_cifar100",
    "load_digit_pairs",
    "load_digits",
    "load_fashion",
    "load_image_folder",
    "load_mnist1d",
    "load_news",
    "load_spoken_digits",
    "load_topics",
    "news_texts",
    "shakespeare_sample",
    "split",
]
