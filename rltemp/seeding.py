"""Independent random generators from one seed."""

import numpy as np
import torch

from rltemp.errors import InputError

__all__ = ["make_generator"]


def make_generator(seed: int, stream: str = "") -> torch.Generator:
    """A generator on the CPU for one purpose, `stream`, of whoever has `seed`.

    Streams of one seed are independent, so that what one part draws never moves what another does. The CPU's generator
    gives the same numbers whatever device the results go to.

    Raises:
        InputError: for a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    sequence = np.random.SeedSequence([seed, *stream.encode()])
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
