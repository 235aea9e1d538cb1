"""The folder of all runs, as it answers to workers on other machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rltemp.experiments.engines.workplace import Leave, Workplace
from rltemp.files import atomic_write, is_draft, new_draft
from rltemp.recipes import schema
from rltemp.tasks.shelf import FolderShelf

__all__ = ["Files", "Home", "contents", "read_files", "write_files"]

Files = dict[str, bytes]
"""Contents of files by their paths below a folder."""


class Home:
    """Lies where the folder of all runs lies, and is asked from everywhere.

    What many ask for is shared: read once, and from then on the same stands for it.

    Args:
        root: folder of all runs.
        leave: what recipes may do.
        share: makes what stands for a value on every machine.
    """

    def __init__(self, root: str, leave: Leave, share: Callable[[Any], Any]) -> None:
        self._root, self._place = Path(root), Workplace(root, leave)
        self._teachers = FolderShelf(self._root / "teachers")
        self._share, self._shared = share, dict[str, Any]()

    def source(self, data: schema.Data) -> Any:
        """The instances that a recipe's data name, shared."""
        return self._once(repr(data), lambda: self._place.source(data))

    def file(self, path: str) -> Any:
        """The bytes of a file of this machine, shared."""
        return self._once(path, Path(path).read_bytes)

    def tensors(self, name: str) -> Any:
        """The bytes of a teacher's file, shared; None if there is none."""
        return self.file(str(self._teachers.path(name))) if self._teachers.holds(name) else None

    def keep_tensors(self, name: str, content: bytes) -> None:
        """Keep a teacher, unless another worker was first."""
        if not self._teachers.holds(name):
            self._teachers.keep_packed(name, content)

    def files(self, path: str) -> Files:
        """The files at or below a path, by their paths; all paths are below the folder of all runs."""
        return read_files(self._root, contents(self._root, path))

    def keep_files(self, path: str, files: Files) -> None:
        """Write files at or below a path. A folder that is new appears whole, or not at all."""
        if path in files or (self._root / path).exists():
            write_files(self._root, files)
        elif files:
            draft = new_draft(self._root / path)
            write_files(draft, {name.removeprefix(f"{path}/"): content for name, content in files.items()})
            os.rename(draft, self._root / path)

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._shared:
            self._shared[key] = self._share(make())
        return self._shared[key]


def contents(root: Path, path: str) -> Iterator[str]:
    """Paths, below `root`, of all files at or below a path, and of the folders, which end in a slash.

    Drafts and locks are left out: they belong to the machine they are on.
    """
    target = root / path
    for place in [target] if target.is_file() else sorted(target.rglob("*")):
        inner = place.relative_to(root)
        if not any(part == ".lock" or is_draft(Path(part)) for part in inner.parts):
            yield f"{inner.as_posix()}/" if place.is_dir() else inner.as_posix()


def read_files(root: Path, names: Iterable[str]) -> Files:
    """The files of these names, as of `contents`; of folders, nothing."""
    return {name: b"" if name.endswith("/") else (root / name).read_bytes() for name in names}


def write_files(root: Path, files: Files) -> None:
    """Write what `read_files` read elsewhere, each file in one step."""
    for name, content in files.items():
        place = root / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            atomic_write(place, content)
