"""The folder of one run: what was asked, with what, what was measured, and whether it came to its end."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import filelock
import numpy as np

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import FloatArray
from rltemp.experiments.machine import describe_machine
from rltemp.files import atomic_write, is_draft, new_draft, sweep_drafts
from rltemp.reading import read_text
from rltemp.recipes import Recipe
from rltemp.recipes.plain_yaml import load_plain
from rltemp.recipes.renamed import rename_recipe
from rltemp.recipes.typed import typed

__all__ = ["RunFolder"]

CONFIG, VERSIONS, METRICS, CHECKPOINTS, FINISHED, LOCK = (
    "config.yaml",
    "versions.json",
    "metrics.csv",
    "checkpoints",
    "finished",
    ".lock",
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,127}")


class RunFolder:
    """`<root>/<recipe>/<name>/` with config.yaml, versions.json, metrics.csv and checkpoints/.

    A folder appears whole, config and versions included, or not at all. Metrics are replaced in one step at every row,
    so that a run that is killed leaves a file that can be read. A run belongs to the process that started or resumed it
    until that ends, however it ends.

    Attributes:
        path: the folder.
    """

    _lock: filelock.BaseFileLock | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the folder of an existing run.

        Raises:
            InputError: if `path` is not the folder of a run.
        """
        self.path = Path(path)
        for part in (CONFIG, VERSIONS, CHECKPOINTS):
            if not (self.path / part).exists():
                raise InputError(f"path must be the folder of a run, got {self.path} (it has no {part})")

    @classmethod
    def start(cls, root: str | os.PathLike[str], recipe: str, name: str, config: str) -> RunFolder:
        """The folder of a new run, or of the same run cut short before, to be resumed.

        A run that nothing came of yet gives way to one with another configuration.

        Args:
            root: where all runs live; made if missing.
            recipe: name of the recipe.
            name: name of the run.
            config: the complete configuration as YAML.

        Raises:
            InputError: if a name is no plain file name, or if this run has finished, took its first step with another
                configuration, or goes on in another process. Nothing that exists is touched then.
        """
        path = Path(root) / _plain("recipe", recipe) / _plain("name", name)
        if not path.exists():
            _create(path, config)
        run = cls(path)
        run._lock = _acquire(path)
        if run.finished:
            raise InputError(f"name must be new: the run {path} has finished; choose another name or remove the folder")
        if run.config != config and _complete(run.config) != _complete(config):
            if not run._untouched():
                raise InputError(
                    f"config must be that of the run {path}, which was started with another; choose another name"
                )
            _describe(path, config)
        return run

    @staticmethod
    def free_name(root: str | os.PathLike[str], recipe: str, prefix: str = "run") -> str:
        """The first of "<prefix>-1", "<prefix>-2", ... that no run of this recipe has."""
        folder = Path(root) / _plain("recipe", recipe)
        number = 1
        while (folder / f"{prefix}-{number}").exists():
            number += 1
        return _plain("prefix", f"{prefix}-{number}")

    @property
    def config(self) -> str:
        """The configuration the run was started with, as YAML."""
        return read_text(self.path / CONFIG)

    @property
    def checkpoints(self) -> Path:
        """The folder for checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / FINISHED).exists()

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Work on the run; if it is refused before anything was measured, no folder is left, and its name is free."""
        try:
            yield
        except InputError:
            if self._untouched():
                if self._lock is not None:
                    self._lock.release(force=True)
                shutil.rmtree(self.path)
            raise

    def finish(self) -> None:
        """Mark the run as finished: from now on `start` refuses it."""
        atomic_write(self.path / FINISHED, "")

    def _untouched(self) -> bool:
        """Whether nothing came of the run yet: it holds what it was started with, and no more."""
        started = {self.path / name for name in (CONFIG, VERSIONS, LOCK)}
        return all(path in started or path.is_dir() or is_draft(path) for path in self.path.rglob("*"))

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add a row to metrics.csv; every row has the columns of the first. NaN stands for a value that is missing."""
        columns, rows = self._metrics()
        if columns and list(row) != columns:
            raise InputError(f"row must have the columns {', '.join(columns)}, got {', '.join(row)}")
        self._write_metrics(list(row), [*rows, [repr(float(value)) for value in row.values()]])

    def keep_metrics(self, rows: int) -> None:
        """Forget all but the first `rows` rows: those after the checkpoint a run is resumed from."""
        columns, old = self._metrics()
        if not 0 <= rows <= len(old):
            raise InputError(f"rows must lie in [0, {len(old)}], the rows that metrics.csv has, got {rows}")
        self._write_metrics(columns, old[:rows])

    def read_metrics(self) -> dict[str, FloatArray]:
        """The columns of metrics.csv, each [rows]; empty if nothing was written."""
        columns, rows = self._metrics()
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(columns))
        return {column: values[:, index] for index, column in enumerate(columns)}

    def _metrics(self) -> tuple[list[str], list[list[str]]]:
        path = self.path / METRICS
        if not os.path.lexists(path):
            return [], []
        text = read_text(path)
        try:
            columns, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
            lengths = {len([float(cell) for cell in row]) for row in rows}
        except (csv.Error, ValueError) as error:
            raise InputError(f"{path} must hold numbers in columns with names ({error})") from error
        if lengths - {len(columns)} or len(set(columns)) < len(columns):
            raise InputError(f"{path} must hold numbers in {len(columns)} columns, each with a name of its own")
        return columns, rows

    def _write_metrics(self, columns: list[str], rows: list[list[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        atomic_write(self.path / METRICS, text.getvalue())


def _complete(config: str) -> tuple[Recipe, list[str]] | str:
    """A recipe and the comments beside it; values that an earlier version did not write stand at their defaults."""
    try:
        values = load_plain(config, "config")
        recipe = typed(Recipe, rename_recipe(values) if isinstance(values, Mapping) else values, "")
    except InputError:
        return config
    return recipe, [line for line in config.splitlines() if line.startswith("#")]


def _plain(argument: str, name: str) -> str:
    if not NAME.fullmatch(name):
        raise InputError(
            f"{argument} must be letters, digits and . _ + = -, starting with one of the first, got {name!r}"
        )
    return name


def _create(path: Path, config: str) -> None:
    """Fill a folder aside, then give it its name: whoever looks sees a whole run or none."""
    draft = new_draft(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
    except OSError as error:
        raise InputError(
            f"root must be a folder that can be written to, got {path.parent} ({error.strerror})"
        ) from error
    try:
        (draft / CHECKPOINTS).mkdir()
        _describe(draft, config)
        _rename(draft, path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sweep_drafts(path.parent)


def _describe(folder: Path, config: str) -> None:
    """Write what the run is and with what; the configuration last, by which a run cut short here is told again."""
    atomic_write(folder / VERSIONS, json.dumps(describe_machine(), indent=1) + "\n")
    atomic_write(folder / CONFIG, config)


def _acquire(path: Path) -> filelock.BaseFileLock:
    """The run's lock, this process's until it ends; whoever asks within it again gets the same."""
    lock = filelock.FileLock(path / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f"name must be new: the run {path} goes on in another process; choose another name") from error
    return lock


def _rename(draft: Path, path: Path) -> None:
    try:
        os.rename(draft, path)
    except OSError as error:
        raise InputError(f"name must be new: {path} has just been taken ({error.strerror})") from error
