"""One setting for every task, chosen on the other tasks: what somebody gets who does not search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rltemp.experiments.tuning.search import Found
from rltemp.experiments.tuning.spaces import SCHEDULE, SPREAD, STATIC, Space

__all__ = ["SINGLES", "choose_single"]

SINGLES = (STATIC, SCHEDULE, SPREAD)


def choose_single(space: Space, others: Sequence[Found]) -> str:
    """The policy among the starts of `space`, which every search tries, of the highest mean validation accuracy.

    Args:
        space: one of `SINGLES`.
        others: searches of it in the cells of other tasks.
    """
    starts = min(len(space.starts), *(len(found.trials) for found in others))
    accuracy = np.array([[trial.accuracy for trial in found.trials[:starts]] for found in others])
    return space.policy(space.starts[int(accuracy.mean(0).argmax())])
