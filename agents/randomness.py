"""A stream of random numbers for a library that draws from global generators."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["RandomStream"]


class RandomStream:
    """States of the global generators of Python, NumPy, and torch (CPU) for one user of random numbers.

    SB3 initializes networks, draws noise, and shuffles minibatches with the global generators, and offers no other way.
    Inside `active()` these generators continue this stream; afterwards they are restored. So the same seed gives the
    same bits whatever else the program draws, and SB3's draws affect nothing else.

    Args:
        seed: >= 0.
    """

    def __init__(self, seed: int) -> None:
        sequence = np.random.SeedSequence([seed, *b"agent"])
        python, numpy, torch_ = (int(word) for word in sequence.generate_state(3))
        legacy = np.random.RandomState(numpy)
        self._states: tuple[Any, Any, torch.Tensor] = (
            random.Random(python).getstate(),
            legacy.get_state(),
            torch.Generator().manual_seed(torch_).get_state(),
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the global generators continue this stream inside the block, and restore them afterwards."""
        outside = _get_states()
        _set_states(self._states)
        try:
            yield
        finally:
            self._states = _get_states()
            _set_states(outside)

    def state_dict(self) -> dict[str, Any]:
        """States of the three generators, as tensors and plain values."""
        python, numpy, torch_ = self._states
        kind, keys, *rest = numpy
        return {
            "python": python,
            "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
            "torch": torch_.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict()` returned.

        The states are tried on new generators first: an invalid one raises here, and changes no global generator.
        """
        kind, keys, *rest = state["numpy"]
        states = (state["python"], (kind, keys.numpy().astype(np.uint32), *rest), state["torch"].clone())
        random.Random().setstate(states[0])
        np.random.RandomState().set_state(states[1])
        torch.Generator().set_state(states[2])
        self._states = states


def _get_states() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _set_states(states: tuple[Any, Any, torch.Tensor]) -> None:
    python, numpy, torch_ = states
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(torch_)
