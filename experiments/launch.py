"""Several processes for one run, started by `accelerate launch` or `torchrun`: joining them, and which of them speaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rltemp.errors import DivergenceError, InputError

if TYPE_CHECKING:
    from rltemp.distillation.ranks import Ranks

__all__ = ["PEER_LOST", "joined", "launched", "lost_a_peer", "speaks"]

PEER_LOST = "another process of this run has ended; the same command goes on where it stopped"

_PATIENCE = timedelta(days=1)
"""Longest wait for another process, which may train a teacher meanwhile; one that ends is noticed by the launcher."""


def launched() -> int:
    """Number of processes that a launcher started for this command; 1 without one.

    Raises:
        InputError: for a launcher that was asked for several processes and started one.
    """
    alone_with_others = "MASTER_ADDR" in os.environ and os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if "WORLD_SIZE" not in os.environ and alone_with_others:
        raise InputError(
            "accelerate launch --cpu starts one process of several by itself: add --no_python torchrun "
            "--nproc-per-node N before -m rltemp.experiments"
        )
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Connect this process with the others of its run, for the time of the block.

    Args:
        device: `execution.device` of the recipe; with a GPU, every process gets one of its own.

    Raises:
        InputError: without the extra that connects them.
    """
    from rltemp.distillation.ranks import ALONE

    if launched() == 1:
        yield ALONE
        return
    state = _accelerate_state(device)
    from rltemp.distillation.ranks import Ranks

    yield Ranks(state.process_index, state.num_processes, state.device)
    state.destroy_process_group()


def speaks(error: BaseException) -> bool:
    """Whether this process is to report an error: what all of them meet, one says."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from torch import distributed

    from rltemp.distillation.ranks import RefusedElsewhereError

    if not distributed.is_initialized():
        return os.environ.get("LOCAL_RANK") == "0"  # files may differ between machines, not between their processes
    shared = isinstance(error, DivergenceError | RefusedElsewhereError | KeyboardInterrupt)
    return os.environ.get("RANK") == "0" or not shared


def lost_a_peer(error: RuntimeError) -> bool:
    """Whether an exchange failed because another process has ended."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error)
