"""Results of the arena's work, one file each: whoever asks for the same work again finds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
