"""Checkpoints of a training run: to continue one's own run, not to pass on (that is what a policy's folder is for)."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from rltemp.agents.trainer import Trainer
from rltemp.errors import InputError
from rltemp.files import atomic_write

__all__ = ["load_checkpoint", "save_checkpoint"]

_VERSION = 1


def save_checkpoint(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write everything the trainer needs to continue, in one step: a crash leaves the last checkpoint whole."""
    buffer = io.BytesIO()
    torch.save({"version": _VERSION, "trainer": trainer.state_dict()}, buffer)
    atomic_write(path, buffer.getvalue())


def load_checkpoint(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Let `trainer` continue from a checkpoint.

    Raises:
        InputError: if there is none, if it is broken or of another version, or if it is of another run's settings.
    """
    state = _read(Path(path))
    try:
        trainer.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a checkpoint of this run, got one that does not fit: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"path must be a checkpoint, got {path}, which does not exist")
    try:
        # Plain values and tensors only, so that even a foreign file cannot run code.
        content = torch.load(path, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise InputError(f"{path} must be a checkpoint, got a broken or foreign file") from error
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        got = content.get("version") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path} must be a checkpoint of version {_VERSION}, got {got}")
    state: dict[str, Any] = content["trainer"]
    return state
