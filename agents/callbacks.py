"""What happens after every rollout: metrics for people, a checkpoint for the next start.

A callback is any function of the `Trainer`; it is called when the rollout's update is complete.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rltemp.agents.checkpoint import save_checkpoint
from rltemp.agents.trainer import Trainer
from rltemp.files import atomic_write, naming

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

__all__ = ["Checkpoint", "MetricsCsv", "RolloutCallback", "TensorBoard"]

RolloutCallback = Callable[[Trainer], None]


class MetricsCsv:
    """Writes the metrics of all rollouts so far, one line each; a resumed run goes on with the same table.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self, trainer: Trainer) -> None:
        """Replace the table by the one with the new rollout."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["rollout", *trainer.history[-1]], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"rollout": number, **metrics} for number, metrics in enumerate(trainer.history, start=1))
        atomic_write(self.path, text.getvalue())


class TensorBoard:
    """Writes the metrics of every rollout as TensorBoard scalars; a context manager, which closes the file.

    Args:
        folder: of the event files.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            with naming(self.folder):
                self._writer.close()

    def __call__(self, trainer: Trainer) -> None:
        """Add the new rollout."""
        # Imported late: it takes seconds, and most of what the package does needs none of it.
        from torch.utils.tensorboard.writer import SummaryWriter

        number = len(trainer.history)
        with naming(self.folder):
            if self._writer is None:
                # What an interrupted run wrote of this rollout, or a former run of all, gives way.
                self._writer = SummaryWriter(str(self.folder), purge_step=number)
            for name, value in trainer.history[-1].items():
                self._writer.add_scalar(name, value, number)
            self._writer.flush()


class Checkpoint:
    """Writes a checkpoint, so that Ctrl-C costs no more than the current rollout.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self, trainer: Trainer) -> None:
        """Replace the checkpoint by one after this rollout."""
        save_checkpoint(trainer, self.path)
