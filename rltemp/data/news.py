"""AG News (Zhang, Zhao and LeCun, 2015): short texts of four kinds, as hashed words, or as they stand."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import torch
from torch import Tensor

from rltemp.data.dataset import Dataset
from rltemp.errors import InputError, short
from rltemp.reading import read_text

__all__ = ["hash_words", "load_news", "news_texts"]

_WORD = re.compile(r"[a-z0-9]+")
_BUCKETS = 8192
_LENGTH = 64
_MOST_CLASSES = 1000


def load_news(root: str | Path) -> tuple[Dataset, Dataset]:
    """Training and test texts as ids int64 [N, 64] of their first words, see `hash_words`.

    Args:
        root: a folder of `train.tsv` and `test.tsv`, one text a line: text, tab, label. Labels may be any words;
            classes are those of the training part in alphabetical order.

    Raises:
        InputError: for a file that is missing, no UTF-8, or has a line without a label, or with one that the training
            part has not; and for fewer than two labels.
    """
    train, test = (_read(Path(root) / f"{part}.tsv") for part in ("train", "test"))
    classes = {label: index for index, label in enumerate(sorted({label for _, label in train}))}
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise InputError(f"train.tsv of {root} must have 2 to {_MOST_CLASSES} different labels, got {len(classes)}")
    unknown = next((label for _, label in test if label not in classes), None)
    if unknown is not None:
        raise InputError(f"test.tsv of {root} must have the labels of train.tsv, got {short(unknown)}")
    return _dataset(train, classes), _dataset(test, classes)


def news_texts(root: str | Path) -> tuple[str, str]:
    """The training and test texts themselves, a line each, without labels.

    Args:
        root: as for `load_news`.

    Raises:
        InputError: for a file that is missing, no UTF-8, or has a line without a label.
    """
    train, test = ("".join(f"{text}\n" for text, _ in _read(Path(root) / f"{part}.tsv")) for part in ("train", "test"))
    return train, test


def hash_words(text: str) -> Tensor:
    """Ids [64] of the first words of a text, filled up with 0.

    Words are runs of letters a to z and digits in the lower-cased text. The id of a word is 1 + crc32(word) % 8191, the
    same everywhere and forever; different words may share one.
    """
    words = _WORD.findall(text.lower())[:_LENGTH]
    ids = [1 + zlib.crc32(word.encode()) % (_BUCKETS - 1) for word in words]
    return torch.tensor(ids + [0] * (_LENGTH - len(ids)))


def _read(path: Path) -> list[tuple[str, str]]:
    """Texts and labels."""
    rows = []
    for number, line in enumerate(read_text(path, "a UTF-8 file of texts and labels").split("\n"), 1):
        text, tab, label = line.rstrip("\r").rpartition("\t")
        if line and not (tab and text.strip() and label.strip()):
            raise InputError(f"line {number} of {path} must be a text, a tab and a label, got {short(line)}")
        if line:
            rows.append((text, label.strip()))
    if not rows:
        raise InputError(f"{path} must hold at least one text, got none")
    return rows


def _dataset(rows: list[tuple[str, str]], classes: dict[str, int]) -> Dataset:
    ids = torch.stack([hash_words(text) for text, _ in rows])
    return Dataset(ids, torch.tensor([classes[label] for _, label in rows]), len(classes))
