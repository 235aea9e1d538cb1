"""Reading of files that may be damaged or untrusted: their content, or an `InputError` that names the file.

No pickle beyond tensors and plain values is opened. Only regular files are read, and links to them: a pipe would block,
and a device may never end.
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
        kind: what the error says the file must be, such as "a checkpoint".
        most_bytes: largest size allowed, in bytes; None for any.

    Raises:
        InputError: for a missing file, anything but a regular file, or a larger one.
    """
    if not os.path.isfile(path):
        what = "does not exist" if not os.path.lexists(path) else "is no regular file, or cannot be reached"
        raise InputError(f"path must be {kind}, got {path}, which {what}")
    size = os.path.getsize(path)
    if most_bytes is not None and size > most_bytes:
        raise InputError(f"path must be {kind} of at most {most_bytes} bytes, got {path} of {size}")
    return Path(path)


def read_text(path: str | os.PathLike[str], kind: str = "a readable UTF-8 file", most_bytes: int = _MOST_TEXT) -> str:
    """The content of a UTF-8 text file, with its line ends unchanged.

    Args:
        path: the file.
        kind: what the error says the file must be.
        most_bytes: largest size allowed, in bytes; 256 MiB by default.

    Raises:
        InputError: for a file that is missing, larger, or not UTF-8.
    """
    try:
        return require_file(path, kind, most_bytes).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be {kind} ({error})") from error


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU; the caller checks their names, shapes, dtypes, and values.

    Raises:
        InputError: for a file that is missing, damaged, or of another format.
    """
    require_file(path, "a safetensors file")
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except Exception as error:  # raised by safetensors, by torch for an unknown type, or by the file system
        raise InputError(f"path must be a safetensors file, {path} is not: {first_line(error)}") from error
    return tensors


def read_torch(path: str | os.PathLike[str], *, map_location: str | None = None, most_bytes: int | None = None) -> Any:
    """Tensors and plain values that `torch.save` wrote; the caller checks what they are.

    The checksums that `torch.save` writes are verified, which `torch.load` does not do: it would not notice a flipped
    bit of a weight.

    Args:
        path: the file.
        map_location: device of the tensors; by default the device each was saved from.
        most_bytes: largest size allowed, in bytes; None for any. The content takes no more memory than the file's size.

    Raises:
        InputError: for a file that is missing, too large, damaged, or holds anything else.
    """
    kind = "a checkpoint of tensors and plain values"
    require_file(path, kind, most_bytes)
    try:
        _check_archive(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # a damaged pickle can raise any exception
        raise InputError(f"path must be {kind}, {path} is not: {first_line(error)}") from error


def restore(
    load: Callable[[Any], None],
    path: str | os.PathLike[str],
    reader: Callable[[Callable[[], Any]], Any] = lambda read: read(),
) -> None:
    """Read a checkpoint of one's own run, and restore an object from it.

    Args:
        load: takes the content, such as the object's `load_state_dict`. If it raises, the object may be restored in
            part, and must be discarded.
        path: the checkpoint.
        reader: calls the function that reads it, or has another process call it, and gives the content.

    Raises:
        InputError: for a missing or damaged file, or a state that `load` refuses.
    """
    state = reader(lambda: _read_own(path))
    try:
        load(state)
    except Exception as error:  # torch, generators, and optimizers raise many types
        reason = first_line(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
        raise InputError(
            f"{path} must be a checkpoint of this run, got one that does not fit: remove it to start the run anew "
            f"({reason})"
        ) from error


def _read_own(path: str | os.PathLike[str]) -> Any:
    """The content of a checkpoint of one's own run."""
    require_file(path, "a checkpoint")
    try:
        return read_torch(path, map_location="cpu")
    except InputError as error:
        raise InputError(
            f"{path} must be a checkpoint of this run, got a broken or foreign file: remove it to start the run anew "
            f"({error})"
        ) from error


def _check_archive(path: str | os.PathLike[str]) -> None:
    """Raise `ValueError` for a zip archive with a damaged record, or with records that grow when they are unpacked."""
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
