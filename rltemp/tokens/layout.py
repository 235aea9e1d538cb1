"""The files of stored log-probabilities: their description, names and headers.

teacher.json                    format version, vocabulary, k, dtype, tokens per shard
shard-00000000.safetensors      log_probabilities [n, k], indices [n, k] int32
shard-00000001.safetensors      ...
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors
import torch

from rltemp.errors import InputError, first_line, short
from rltemp.reading import read_text, require_file

__all__ = ["Layout", "description_of", "shard_path", "shard_sizes"]

_FORMAT_VERSION = 1
_MOST_JSON = 1 << 16
_DTYPES = {"float16": torch.float16, "float32": torch.float32}
_NAMES_IN_HEADERS = {"float16": "F16", "float32": "F32"}


@dataclasses.dataclass(frozen=True)
class Layout:
    """What all files of a folder share.

    Attributes:
        vocabulary: V, in [2, 2^31).
        k: classes per token, in [1, V].
        dtype: "float16" or "float32".
        shard_tokens: tokens per file, >= 1; the last file may have fewer.

    Raises:
        InputError: for values of another type or out of range.
    """

    vocabulary: int
    k: int
    dtype: str
    shard_tokens: int

    def __post_init__(self) -> None:
        if not _is_count(self.vocabulary) or not 2 <= self.vocabulary < 1 << 31:
            raise InputError(f"vocabulary must be a number of classes in [2, 2^31), got {short(self.vocabulary)}")
        if not _is_count(self.k) or not 1 <= self.k <= self.vocabulary:
            raise InputError(f"k must lie in [1, {self.vocabulary}], the vocabulary, got {short(self.k)}")
        if not isinstance(self.dtype, str) or self.dtype not in _DTYPES:
            raise InputError(f"dtype must be one of {', '.join(_DTYPES)}, got {short(self.dtype)}")
        if not _is_count(self.shard_tokens) or self.shard_tokens < 1:
            raise InputError(f"shard_tokens must be a number of tokens >= 1, got {short(self.shard_tokens)}")

    @classmethod
    def read(cls, folder: Path) -> Layout:
        """The layout of a folder.

        Raises:
            InputError: for a folder without a description, or one that is damaged or of another format.
        """
        path = description_of(folder)
        text = read_text(path, "the description of stored log-probabilities", _MOST_JSON)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} must be plain JSON, got something else: {first_line(error)}") from error
        keys = {"format_version", *(field.name for field in dataclasses.fields(cls))}
        if not isinstance(content, dict) or set(content) != keys:
            raise InputError(f"{path} must have the keys {', '.join(sorted(keys))}, got {short(content)}")
        version = content.pop("format_version")
        if not _is_count(version) or version != _FORMAT_VERSION:
            raise InputError(f"{path}: format_version must be {_FORMAT_VERSION}, got {short(version)}")
        try:
            return cls(**content)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def text(self) -> str:
        """The description, as it is written."""
        return json.dumps({"format_version": _FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of log-probabilities."""
        return _DTYPES[self.dtype]


def description_of(folder: Path) -> Path:
    """The file that describes a folder."""
    return folder / "teacher.json"


def shard_path(folder: Path, number: int) -> Path:
    """The file of shard `number`, counted from 0."""
    return folder / f"shard-{number:08}.safetensors"


def shard_sizes(folder: Path, layout: Layout) -> list[int]:
    """Numbers of tokens of the shards in `folder`, out of their headers; all but the last are full.

    Raises:
        InputError: for a gap, a damaged file, other tensors than the layout says, or a shard of another size.
    """
    paths = sorted(folder.glob("shard-*.safetensors"))
    if paths != [shard_path(folder, number) for number in range(len(paths))]:
        raise InputError(f"{folder} must hold shards 0 to {len(paths) - 1}, got {short([path.name for path in paths])}")
    sizes = [_tokens_of(path, layout) for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        if not 1 <= size <= layout.shard_tokens or (size < layout.shard_tokens and path != paths[-1]):
            raise InputError(f"{path} must hold {layout.shard_tokens} tokens, or fewer if it is the last, got {size}")
    return sizes


def _tokens_of(path: Path, layout: Layout) -> int:
    require_file(path, "a shard")
    got: dict[str, tuple[str, list[Any]]] = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (the file is no dict)
                part = file.get_slice(name)
                got[name] = part.get_dtype(), list(part.get_shape())
    except Exception as error:  # raised by safetensors or the file system
        raise InputError(f"{path} must be a safetensors file, got a broken one ({first_line(error)})") from error
    want = {"log_probabilities": _NAMES_IN_HEADERS[layout.dtype], "indices": "I32"}
    if set(got) != set(want):
        raise InputError(f"{path} must hold {' and '.join(want)}, got {short(sorted(got))}")
    shape = got["indices"][1]
    tokens = shape[0] if len(shape) == 2 else 0
    for name, dtype in want.items():
        if got[name] != (dtype, [tokens, layout.k]):
            raise InputError(
                f"{path}: {name} must be {dtype} [{tokens}, {layout.k}], got {got[name][0]} {got[name][1]}"
            )
    return int(tokens)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
