"""Callbacks after every rollout: metrics and checkpoints.

A callback is any function of the `Learner`; it is called when the rollout's update is complete.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rltemp.agents.checkpoint import save_checkpoint
from rltemp.agents.learner import Learner
from rltemp.agents.metrics import tensorboard_tag
from rltemp.files import atomic_write, naming

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

__all__ = ["Checkpoint", "MetricsCsv", "RolloutCallback", "TensorBoard"]

RolloutCallback = Callable[[Learner], None]


class MetricsCsv:
    """Callback that writes the metrics of all rollouts so far to a CSV file, one line each, also after resuming.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self, trainer: Learner) -> None:
        """Write the metrics of all rollouts so far, replacing the file in one step."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["rollout", *trainer.history[-1]], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"rollout": number, **metrics} for number, metrics in enumerate(trainer.history, start=1))
        atomic_write(self.path, text.getvalue())


class TensorBoard:
    """Callback that writes the metrics of every rollout as TensorBoard scalars; as a context manager, it closes them.

    Tags are those of `tensorboard_tag`, steps are numbers of rollouts.

    Args:
        folder: for the event files.
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

    def __call__(self, trainer: Learner) -> None:
        """Write the metrics of the last rollout."""
        # Imported late, since it takes seconds, and few uses of the package need it.
        from torch.utils.tensorboard.writer import SummaryWriter

        number = len(trainer.history)
        with naming(self.folder):
            if self._writer is None:
                # Hides events that an interrupted run wrote for this rollout, or an earlier run for all.
                self._writer = SummaryWriter(str(self.folder), purge_step=number)
            for name, value in trainer.history[-1].items():
                self._writer.add_scalar(tensorboard_tag(name), value, number)
            self._writer.flush()


class Checkpoint:
    """Callback that writes a checkpoint, so that an interruption costs at most the current rollout.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self, trainer: Learner) -> None:
        """Write the trainer's checkpoint, replacing the file in one step."""
        save_checkpoint(trainer, self.path)
