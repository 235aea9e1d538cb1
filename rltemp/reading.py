"""Reading files that may be damaged, a stranger's, or no files at all: content, or an `InputError` that names the file.

No pickle beyond tensors and plain values is ever opened, and nothing but a regular file, or a link to one: a pipe would
block, a device may never end.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from rltemp.errors import InputError, first_line

__all__ = ["read_safetensors", "read_text", "read_torch", "require_file", "restore"]

_MOST_TEXT = 1 << 28


def require_file(path: str | os.PathLike[str], kind: str, most_bytes: int | None = None) -> Path:
    """The path of a regular file, or of a link to one.

    Args:
        path: the file.
        kind: what it has to be, for the message: "a checkpoint".
        most_bytes: how large it may be.

    Raises:
        InputError: for anything else, or a larger file.
    """
    if not os.path.isfile(path):
        what = "does not exist" if not os.path.lexists(path) else "is no regular file, or cannot be reached"
        raise InputError(f"path must be {kind}, got {path}, which {what}")
    size = os.path.getsize(path)
    if most_bytes is not None and size > most_bytes:
        raise InputError(f"path must be {kind} of at most {most_bytes} bytes, got {path} of {size}")
    return Path(path)


def read_text(path: str | os.PathLike[str], kind: str = "a readable UTF-8 file", most_bytes: int = _MOST_TEXT) -> str:
    """A UTF-8 text file, line ends as they are.

    Args:
        path: the file.
        kind: what it has to be, for the message.
        most_bytes: how large it may be; 256 MiB by default.

    Raises:
        InputError: for a file that is missing, larger, or no UTF-8.
    """
    try:
        return require_file(path, kind, most_bytes).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be {kind} ({error})") from error


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU; their shapes, types and values are the caller's to check.

    Raises:
        InputError: for a file that is missing, damaged or of another format.
    """
    require_file(path, "a safetensors file")
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except Exception as error:  # of its own, of torch where a type is unknown to it, of the file system
        raise InputError(f"path must be a safetensors file, {path} is not: {first_line(error)}") from error
    return tensors


def read_torch(path: str | os.PathLike[str], *, map_location: str | None = None, most_bytes: int | None = None) -> Any:
    """Tensors and plain values that `torch.save` wrote; what they are is the caller's to check.

    The checksums that `torch.save` writes are compared, which torch itself does not: a flipped bit of a weight would
    go unnoticed.

    Args:
        path: the file.
        map_location: device of the tensors; by default the one that each was saved from.
        most_bytes: how large the file may be. What it holds takes no more memory than its size.

    Raises:
        InputError: for a file that is missing, too large, damaged, or holds anything else.
    """
    kind = "a checkpoint of tensors and plain values"
    require_file(path, kind, most_bytes)
    try:
        _check_archive(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # a damaged pickle can end in any exception of the parts that it is read by
        raise InputError(f"path must be {kind}, {path} is not: {first_line(error)}") from error


def restore(load: Callable[[Any], None], path: str | os.PathLike[str]) -> None:
    """Hand the content of a checkpoint of one's own run to `load`, whose object is of no use if that fails.

    Raises:
        InputError: for a missing or damaged file, or a state that does not fit.
    """
    require_file(path, "a checkpoint")
    try:
        state = read_torch(path)
    except InputError as error:
        raise InputError(
            f"{path} must be a checkpoint of this run, got a broken or foreign file: remove it to start the run anew "
            f"({error})"
        ) from error
    try:
        load(state)
    except Exception as error:  # of torch, of the generators, of the optimizer, whatever they find wrong
        reason = first_line(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
        raise InputError(
            f"{path} must be a checkpoint of this run, got one that does not fit: remove it to start the run anew "
            f"({reason})"
        ) from error


def _check_archive(path: str | os.PathLike[str]) -> None:
    """Refuse a zip archive with a damaged record, or with records that grow when they are unpacked."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return  # the format before PyTorch 1.6
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
        if packed or sum(record.file_size for record in records) > os.path.getsize(path):
            raise ValueError("its records are compressed or overlap")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its record {damaged!r} is wrong")
