"""Runs functions of test files in two processes that `torch.distributed` connects: `python ranks.py`.

Reads lines FILE FUNCTION FOLDER, calls FUNCTION(rank, FOLDER) in both processes, and writes their exit codes. A program
of its own, started once for all tests: autograd does not survive a fork of a process that has used it, and what a rank
needs takes seconds to import.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import sys
import traceback
from pathlib import Path

import torch
import torch._dynamo  # what data parallelism loads, once for all ranks
from torch import distributed

COUNT = 2
PATIENCE = 600.0


def call(rank: int, file: str, function: str, folder: Path) -> None:
    """One rank: its answer is in the folder afterwards."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=COUNT)
    try:
        answer = getattr(sys.modules[file], function)(rank, folder)
        torch.save(answer, folder / f"{rank}.pt")
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # without a word to the other rank, which would wait for an answer
    distributed.destroy_process_group()


def load(file: str) -> None:
    """Import a test file before the fork, under its path."""
    if file not in sys.modules:
        spec = importlib.util.spec_from_file_location(file, file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[file] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[file])


def main() -> None:
    """Answer line after line until the input ends."""
    # Not this folder, which has a room of the package's name; what tests share is found from the one above.
    sys.path[0] = str(Path(__file__).parents[1])
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what ranks print is no answer
    context = multiprocessing.get_context("fork")
    for line in sys.stdin:
        file, function, folder = line.rstrip("\n").split("\t")
        load(file)
        ranks = [context.Process(target=call, args=(rank, file, function, Path(folder))) for rank in range(COUNT)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(PATIENCE)
            process.kill()
            process.join()
        print(*(process.exitcode for process in ranks), file=answers, flush=True)


if __name__ == "__main__":
    main()
