"""A worker's place on a machine that does not see the folder of all runs: it asks for what it needs."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
from torch import Tensor

from rltemp.distillation import Task
from rltemp.experiments.engines.home import contents, read_files, write_files
from rltemp.experiments.engines.workplace import Leave, Workplace
from rltemp.recipes import Recipe, change_recipe, schema
from rltemp.tasks import build_task, cache_folder
from rltemp.tasks.shelf import Shelf, pack
from rltemp.tasks.sources import Source

__all__ = ["Away", "Line"]

_NOT_READ: dict[str, Any] = {"shift": 0, "flip": False, "noise": 0.0, "views": None, "label_noise": 0.0, "junk": 0.0}
"""What none of the sources that come with rltemp looks at: recipes that differ in it alone share one."""


class Line(Protocol):
    """To the `Home` of the folder of all runs."""

    def ask(self, question: str, /, *arguments: Any) -> Any:
        """What its method of this name answers; what it shares comes once to each machine."""


class Away(Workplace):
    """A workplace whose data and teachers come from elsewhere, and whose files go there.

    Args:
        line: to where they are.
        leave: what recipes may do.
    """

    def __init__(self, line: Line, leave: Leave) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rltemp-")
        super().__init__(self._folder.name, leave)
        self._line = line

    def build(self, recipe: Recipe) -> Task:
        """As in `Workplace`; images that stay on disk are read where the recipe says."""
        with self._with_checkpoint(recipe) as local:
            return build_task(
                local,
                cache=cache_folder(),
                shelf=_AwayShelf(self._line),
                read=self.source,
                **dataclasses.asdict(self.leave),
            )

    def source(self, data: schema.Data) -> Source:
        """As in `Workplace`."""
        # A source of one's own may look at anything.
        asked = data if ":" in data.name else dataclasses.replace(data, **_NOT_READ)
        source: Source = self._line.ask("source", asked)
        return source

    @contextmanager
    def holding(self, path: Path) -> Iterator[Callable[[], None]]:
        """As in `Workplace`."""
        name = path.relative_to(self.root).as_posix()
        write_files(self.root, self._line.ask("files", name))
        sent = dict(self._states(name))

        def send() -> None:
            changed = {inner: state for inner, state in self._states(name) if sent.get(inner) != state}
            self._line.ask("keep_files", name, read_files(self.root, changed))
            sent.update(changed)

        try:
            yield send
            send()
        finally:
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)

    def _states(self, name: str) -> Iterator[tuple[str, tuple[int, int]]]:
        for inner in contents(self.root, name):
            status = (self.root / inner).stat()
            yield inner, (status.st_mtime_ns, status.st_size)

    @contextmanager
    def _with_checkpoint(self, recipe: Recipe) -> Iterator[Recipe]:
        """The recipe with its teacher's checkpoint, if it has one, in a file of this machine."""
        if recipe.teacher.checkpoint is None:
            yield recipe
            return
        with tempfile.NamedTemporaryFile(dir=self.root, suffix=Path(recipe.teacher.checkpoint).suffix) as file:
            file.write(self._line.ask("file", recipe.teacher.checkpoint))
            file.flush()
            yield change_recipe(recipe, {"teacher.checkpoint": file.name})


class _AwayShelf(Shelf):
    def __init__(self, line: Line) -> None:
        self._line = line

    def holds(self, name: str) -> bool:
        return self._line.ask("tensors", name) is not None

    def read(self, name: str) -> dict[str, Tensor] | None:
        content = self._line.ask("tensors", name)
        return None if content is None else safetensors.torch.load(content)

    def keep(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        self._line.ask("keep_tensors", name, pack(tensors))
