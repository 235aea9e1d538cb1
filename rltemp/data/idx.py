"""Files in the idx format of MNIST (LeCun et al.), which Fashion-MNIST and others share; packed by gzip or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from rltemp.errors import InputError, first_line
from rltemp.reading import require_file

__all__ = ["read_idx"]

_KIND = "an idx file of bytes"
_MOST_BYTES = 1 << 28


def read_idx(path: str | Path) -> Tensor:
    """The array of a file, uint8 of the shape it states.

    Args:
        path: the file, without ".gz"; where there is none, the one with ".gz" is unpacked in memory.

    Raises:
        InputError: for a missing or damaged file, one of another format or type, or of more than 256 MiB unpacked.
    """
    plain, packed = Path(path), Path(f"{path}.gz")
    path = packed if packed.exists() and not plain.exists() else plain
    require_file(path, _KIND, _MOST_BYTES)
    try:
        with gzip.open(path) if path == packed else open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"path must be {_KIND}, {path} cannot be unpacked: {first_line(error)}") from error
    dimensions = content[3] if len(content) > 3 and content[:3] == b"\0\0\x08" else 0
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(content[start : start + 4], "big") for start in range(4, header, 4)]
    if not dimensions or len(content) != header + math.prod(shape) or 0 in shape:
        raise InputError(f"path must be {_KIND}, {path} is damaged or of another format")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).view(shape)
