"""Checkpoints of a training run, to resume it; a policy's folder is the format for sharing."""

import io
import os
from typing import Any

import torch

from rltemp.agents.learner import Learner
from rltemp.distillation.ranks import ALONE, Ranks
from rltemp.errors import InputError, short
from rltemp.files import atomic_write
from rltemp.reading import restore

__all__ = ["load_checkpoint", "save_checkpoint"]

_VERSION = 1


def save_checkpoint(trainer: Learner, path: str | os.PathLike[str]) -> None:
    """Write the trainer's state to `path` in one step, so that a crash leaves the previous checkpoint complete."""
    buffer = io.BytesIO()
    torch.save({"version": _VERSION, "trainer": trainer.state_dict()}, buffer)
    atomic_write(path, buffer.getvalue())


def load_checkpoint(trainer: Learner, path: str | os.PathLike[str], ranks: Ranks = ALONE) -> None:
    """Restore `trainer` from the checkpoint at `path`; if it fails, `trainer` must be discarded.

    Of several `ranks` the first reads it for all.

    Raises:
        InputError: for a missing or damaged file, another version, or a run with other settings.
    """

    def load(content: Any) -> None:
        version = content["version"]
        if version != _VERSION:
            raise InputError(f"{path} must be a checkpoint of version {_VERSION}, got {short(version)}")
        trainer.load_state_dict(content["trainer"])

    restore(load, path, ranks.first)
