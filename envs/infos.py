"""Infos of a step that ends all episodes at once, in Gymnasium's form for SAME_STEP autoreset."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["final_infos"]


def final_infos(observation: npt.NDArray[np.float32], returns: npt.NDArray[np.float64]) -> dict[str, Any]:
    """What the slots saw last, and what their students gained.

    Args:
        observation: [N, F], the last of the episode, not the first of the next.
        returns: [K], one per student; N is a multiple of K.
    """
    everyone = np.ones(len(observation), dtype=bool)
    final = np.empty(len(observation), dtype=object)
    for slot, row in enumerate(observation):
        final[slot] = row.copy()  # whoever keeps one row must not keep them all, nor see them change
    return {
        "final_obs": final,
        "_final_obs": everyone,
        "final_info": {"return": np.repeat(returns, len(observation) // len(returns)), "_return": everyone.copy()},
        "_final_info": everyone.copy(),
    }
