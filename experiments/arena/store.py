"""Results of the arena's work, one file each: whoever asks for the same work again finds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from rltemp.errors import InputError
from rltemp.files import atomic_write
from rltemp.reading import read_text

__all__ = ["ResultStore"]


class ResultStore:
    """A folder of JSON files, named by what they are the result of.

    Args:
        folder: made when the first result is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Add to the folder, which no other process may do meanwhile: two would do the same work at the same place.

        Raises:
            InputError: if another process does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.folder / ".lock", timeout=0):
                yield
        except filelock.Timeout as error:
            raise InputError(f"--runs must be a folder of its own: another process works in {self.folder}") from error

    def keep(self, key: str, result: dict[str, Any]) -> None:
        """Write a result in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self._path(key), json.dumps(result))

    def find(self, key: str) -> dict[str, Any] | None:
        """The result of `key`; None if there is none, or none that can be read."""
        try:
            result = json.loads(read_text(self._path(key)))
        except (InputError, ValueError, RecursionError):
            return None
        return result if isinstance(result, dict) else None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
