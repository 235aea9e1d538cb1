"""Independent random generators from one seed."""

import numpy as np
import torch

from rltemp.errors import InputError

__all__ = ["make_generator"]


def make_generator(seed: int, stream: str = "") -> torch.Generator:
    """A CPU generator that depends on `seed` and on the name of its purpose, `stream`.

    Streams of one seed are independent, so that draws for one purpose never change those for another. A CPU generator
    gives the same numbers whatever device the results are moved to.

    Raises:
        InputError: for a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    sequence = np.random.SeedSequence([seed, *stream.encode()])
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
