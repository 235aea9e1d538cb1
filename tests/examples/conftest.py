"""Examples run as they are, seeds and all."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _leave_the_global_generators_alone() -> Iterator[None]:
    numbers = np.random.get_state()  # noqa: NPY002 (Trainer seeds it)
    with torch.random.fork_rng():
        yield
    np.random.set_state(numbers)  # noqa: NPY002
