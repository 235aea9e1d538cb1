"""What a teacher said, kept on disk for offline distillation: top-k log-probabilities, token after token.

Every shard is written in one step: a folder is readable at any time, whatever became of its writer. Reading unpickles
nothing, and checks what it reads.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from rltemp.errors import InputError, first_line, short
from rltemp.files import atomic_write, is_draft
from rltemp.reading import read_safetensors
from rltemp.tokens.layout import Layout, description_of, shard_path, shard_sizes
from rltemp.tokens.topk import TopK

__all__ = ["StoredTopK", "TopKWriter"]


class TopKWriter:
    """Appends a teacher's top-k log-probabilities to a folder, and goes on where an earlier writer stopped.

    One writer at a time. After an interruption `len(writer)` says how many tokens are there: continue with the token of
    that number. Use it as a context manager, or call `close`, without which the tokens that fill no shard are lost.

    Args:
        path: the folder, which is created with its parents; one that exists must be of the same values.
        vocabulary: V, in [2, 2^31).
        k: classes per token, in [1, V].
        dtype: "float32", or "float16" for files a quarter smaller; values of this dtype are read back bit for bit.
        shard_tokens: tokens per file, >= 1.

    Raises:
        InputError: for values out of range, or a folder that is damaged, holds something else, or cannot be written to.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        vocabulary: int,
        k: int,
        *,
        dtype: str = "float32",
        shard_tokens: int = 65_536,
    ) -> None:
        self._folder, self._layout = Path(path), Layout(vocabulary, k, dtype, shard_tokens)
        _begin(self._folder, self._layout)
        sizes = shard_sizes(self._folder, self._layout)
        self._complete = len(sizes)
        self._buffer: list[TopK] = []
        if sizes and sizes[-1] < shard_tokens:
            self._complete -= 1
            last = read_safetensors(shard_path(self._folder, self._complete))
            self._buffer = [TopK(last["log_probabilities"], last["indices"], vocabulary)]

    def __len__(self) -> int:
        """Number of tokens, those of earlier writers and those not yet on disk included."""
        return self._complete * self._layout.shard_tokens + self._waiting()

    def append(self, tokens: TopK) -> None:
        """Add tokens, which are on disk as soon as they fill a shard.

        Raises:
            InputError: for another vocabulary or k.
        """
        got, want = (tokens.vocabulary, tokens.k), (self._layout.vocabulary, self._layout.k)
        if got != want:
            raise InputError(f"tokens must have vocabulary and k {want}, as the folder, got {got}")
        # What one waits for may be a part of something large.
        dtype = self._layout.torch_dtype
        values, indices = tokens.log_probabilities.detach().to("cpu", dtype), tokens.indices.to("cpu", torch.int32)
        self._buffer.append(TopK(values, indices, tokens.vocabulary))
        size = self._layout.shard_tokens
        while self._waiting() >= size:
            whole = self._joined()
            self._write(whole[:size])
            self._complete += 1
            self._buffer = [whole[size:]]

    def close(self) -> None:
        """Write what fills no shard yet; the next writer goes on with it."""
        if self._waiting():
            self._write(self._joined())

    def __enter__(self) -> TopKWriter:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; what was appended before an error is whole, and kept."""
        self.close()

    def _waiting(self) -> int:
        return sum(map(len, self._buffer))

    def _joined(self) -> TopK:
        values = torch.cat([part.log_probabilities for part in self._buffer])
        return TopK(values, torch.cat([part.indices for part in self._buffer]), self._layout.vocabulary)

    def _write(self, tokens: TopK) -> None:
        tensors = {"log_probabilities": tokens.log_probabilities, "indices": tokens.indices}
        content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
        atomic_write(shard_path(self._folder, self._complete), content)


class StoredTopK:
    """Top-k log-probabilities on disk, read by slices of tokens; files are mapped into memory, not loaded.

    Args:
        path: the folder of a `TopKWriter`, which may still be writing; later tokens are not seen.

    Attributes:
        vocabulary: V.
        k: classes per token.

    Raises:
        InputError: for a missing or damaged folder, or files that do not fit its description.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._folder = Path(path)
        self._layout = Layout.read(self._folder)
        self.vocabulary, self.k = self._layout.vocabulary, self._layout.k
        self._tokens = sum(shard_sizes(self._folder, self._layout))

    def __len__(self) -> int:
        """Number of tokens."""
        return self._tokens

    def __getitem__(self, rows: slice) -> TopK:
        """The tokens of a slice of step 1, in the dtype they are stored in.

        Raises:
            InputError: for another step, or values on disk that are no log-probabilities and classes.
        """
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise InputError(f"rows must be a slice of step 1, got {step}")
        size = self._layout.shard_tokens
        values, indices = [torch.zeros(0, self.k, dtype=self._layout.torch_dtype)], [torch.zeros(0, self.k).int()]
        for number in range(start // size, -(-stop // size) if start < stop else 0):
            first = number * size
            part = self._read(number, max(start - first, 0), min(stop - first, size))
            values.append(part[0])
            indices.append(part[1])
        try:
            return TopK(torch.cat(values), torch.cat(indices), self.vocabulary)
        except InputError as error:
            raise InputError(f"{self._folder} must hold undamaged tokens {start} to {stop}: {error}") from error

    def _read(self, number: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        path = shard_path(self._folder, number)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                return file.get_slice("log_probabilities")[start:stop], file.get_slice("indices")[start:stop]
        except Exception as error:  # raised by safetensors or the file system
            raise InputError(f"{path} must be a readable shard ({first_line(error)})") from error


def _begin(folder: Path, layout: Layout) -> None:
    """Make the folder, or check that it is one of this layout."""
    path = description_of(folder)
    if path.exists():
        there = Layout.read(folder)
        if there != layout:
            raise InputError(f"path must be a folder of {short(layout)}, got one of {short(there)}")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not all(map(is_draft, folder.iterdir())):
            raise InputError(f"path must be a folder of stored log-probabilities, or empty, got {folder}")
    except OSError as error:
        raise InputError(f"path must be a folder that can be made, got {folder} ({error.strerror})") from error
    atomic_write(path, layout.text())
