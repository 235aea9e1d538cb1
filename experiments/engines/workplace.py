"""What a worker finds where it works: the folder of all runs, and what tasks are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from rltemp.distillation import Task
from rltemp.recipes import Recipe, schema
from rltemp.tasks import build_task
from rltemp.tasks.sources import Source, load_source

__all__ = ["Leave", "Workplace"]


@dataclass(frozen=True)
class Leave:
    """What recipes may do.

    Attributes:
        allow_download: fetch data and networks.
        allow_code: import the module of a source of data.
    """

    allow_download: bool = False
    allow_code: bool = False


class Workplace:
    """A worker's place on a machine that sees the folder of all runs.

    Args:
        root: folder of all runs, which also keeps teachers and decoded images.
        leave: what recipes may do.
        number: of the worker among those that share this machine's GPUs.

    Attributes:
        root: what stands for the folder of all runs here.
        leave: what recipes may do.
    """

    def __init__(self, root: str | Path, leave: Leave, number: int = 0) -> None:
        self.root, self.leave = Path(root), leave
        self._number = number

    def build(self, recipe: Recipe) -> Task:
        """The recipe's task, on a GPU of this worker's if there are several.

        Raises:
            InputError: as `build_task`.
        """
        count = 0 if recipe.execution.device == "cpu" else torch.cuda.device_count()
        device = f"cuda:{self._number % count}" if count else None
        return build_task(recipe, device=device, cache=self.root, **asdict(self.leave))

    def source(self, data: schema.Data) -> Source:
        """The instances that a recipe's data name, before they are split.

        Raises:
            InputError: as `load_source`.
        """
        return load_source(data, self.root, allow_code=self.leave.allow_code)

    @contextmanager
    def holding(self, path: Path) -> Iterator[Callable[[], None]]:
        """Have what is kept at a path below `root`, for the time of the block.

        Yields:
            What lets its state be kept, so that a worker that dies later has not worked in vain; called once more at
            the end.
        """
        yield lambda: None
