"""Several processes for one run, of `accelerate launch` or `torchrun`: joining them, and which of them speaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rltemp.errors import DivergenceError, InputError

__all__ = ["PEER_LOST", "check_launch", "joined", "lost_a_peer", "speaks"]

PEER_LOST = "another process of this run has ended; the same command goes on where it stopped"

_PATIENCE = timedelta(days=1)
"""Longest wait for another process, which may train a teacher meanwhile; one that ends is noticed by the launcher."""


def check_launch(command: str, shares: bool) -> None:
    """Refuse several processes for a command that cannot share its work among them.

    Args:
        command: its name.
        shares: whether it can.

    Raises:
        InputError: as above, or for a launcher that was asked for several processes and started one.
    """
    if not shares and _count() > 1:
        raise InputError(f"{command} must be started as one process, got {_count()} of a launcher")
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if shares and on_cpu and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise InputError(
            "accelerate launch --cpu starts one process, however many it is asked for: "
            "write --no_python torchrun --nproc-per-node N in front of -m rltemp.experiments"
        )


@contextmanager
def joined(device: str) -> Iterator[Any]:
    """The `Ranks` of this process and the others of its run, connected for the time of the block.

    Args:
        device: `execution.device` of the recipe; with GPUs, every process gets one of its own.

    Raises:
        InputError: for several processes without the extra that connects them.
    """
    # Imported here, since torch takes seconds, and mistakes are answered at once.
    import torch

    from rltemp.distillation.ranks import ALONE, Ranks

    if _count() == 1:
        yield ALONE
        return
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise InputError('several processes need the package of the extra: pip install "rltemp[scale]"') from error
    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available(), timeout=_PATIENCE)
    mine = state.device if state.device.type == "cuda" else torch.device("cpu")
    yield Ranks(state.process_index, state.num_processes, mine)
    state.destroy_process_group()


def speaks(error: BaseException) -> bool:
    """Whether this process is to report an error: what all of them meet, one says."""
    if _count() == 1:
        return True
    from torch import distributed

    from rltemp.distillation.ranks import RefusedElsewhereError

    if not distributed.is_initialized():
        # Files may differ between machines, but not between the processes of one.
        return os.environ.get("LOCAL_RANK", "0") == "0"
    met_by_all = isinstance(error, DivergenceError | RefusedElsewhereError | KeyboardInterrupt)
    return os.environ.get("RANK", "0") == "0" or not met_by_all


def lost_a_peer(error: RuntimeError) -> bool:
    """Whether an exchange failed because another process has ended."""
    if _count() == 1:
        return False
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def _count() -> int:
    """Number of processes that a launcher started for this command; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))
