"""What students that are lost have to pay beside what they lost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["forfeits"]


def forfeits(returns: npt.NDArray[np.floating], lost: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
    """By how much the returns of lost students exceed the lowest of those that are left, [K] >= 0.

    An environment cannot know it when a student is lost: a cross-entropy has no highest value, and of those that are
    left some may end worse than a guess, who must not be paid less than a student that diverged.

    Args:
        returns: of the students of a rollout, [K].
        lost: which of them diverged, [K].
    """
    if lost.all() or not lost.any():
        return np.zeros_like(returns)
    return np.where(lost, np.maximum(returns - returns[~lost].min(), 0.0), 0.0).astype(returns.dtype)
