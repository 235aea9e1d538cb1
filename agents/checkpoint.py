"""Checkpoints of a training run: to continue one's own run, not to pass on (that is what a policy's folder is for)."""

import io
import os
from typing import Any

import torch

from rltemp.agents.trainer import Trainer
from rltemp.errors import InputError, short
from rltemp.files import atomic_write
from rltemp.reading import restore

__all__ = ["load_checkpoint", "save_checkpoint"]

_VERSION = 1


def save_checkpoint(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write everything the trainer needs to continue, in one step: a crash leaves the last checkpoint whole."""
    buffer = io.BytesIO()
    torch.save({"version": _VERSION, "trainer": trainer.state_dict()}, buffer)
    atomic_write(path, buffer.getvalue())


def load_checkpoint(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Let `trainer` continue from a checkpoint. If that fails, it is of no use any more.

    Raises:
        InputError: if there is none, if it is broken or of another version, or if it is of another run's settings.
    """

    def load(content: Any) -> None:
        version = content["version"]
        if version != _VERSION:
            raise InputError(f"{path} must be a checkpoint of version {_VERSION}, got {short(version)}")
        trainer.load_state_dict(content["trainer"])

    restore(load, path)
