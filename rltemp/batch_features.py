"""Features that place an instance in its minibatch: means over the batch, and over the others with its label."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["BATCH_FEATURES", "CLASS_FEATURES", "OF_EACH_NETWORK", "RIGHT", "of_batch", "of_classes"]

OF_EACH_NETWORK = ("confidence", "margin", "entropy", "spread", "target_probability")
RIGHT = ("teacher_correct", "student_correct")

_AVERAGED = (
    *(f"{network}_{name}" for network in ("teacher", "student") for name in (*OF_EACH_NETWORK, "correct", "loss")),
    "divergence",
    "agreement",
)

BATCH_FEATURES: tuple[str, ...] = tuple(f"batch_{name}" for name in _AVERAGED)
"""Names of the means over the batch."""

CLASS_FEATURES: tuple[str, ...] = tuple(f"class_{name}" for name in RIGHT)
"""Names of the means over the others of the batch with an instance's label."""


def of_batch(columns: Mapping[str, Tensor], students: int, mask: Tensor | None) -> dict[str, Tensor]:
    """Means of columns over the batch of each student, which all its instances get, [B], by name of the feature.

    Args:
        columns: [B] of each instance, by name.
        students: whose batches of equal size stand one after the other, a divisor of B.
        mask: [B] bool, which instances count; None for all.
    """
    known = [name for name in _AVERAGED if name in columns]
    values = torch.stack([columns[name] for name in known]).unflatten(1, (students, -1))
    if mask is None:
        mean = values.mean(-1, keepdim=True)
    else:
        counts = mask.to(values.dtype).unflatten(0, (students, -1))
        mean = (values * counts).sum(-1, keepdim=True) / counts.sum(-1, keepdim=True).clamp_min(1.0)
    means = mean.expand_as(values).flatten(1)
    return {
        f"batch_{name}": 1.0 - torch.exp(-mean) if name.endswith("loss") else mean
        for name, mean in zip(known, means.unbind(), strict=True)
    }


def of_classes(
    columns: Mapping[str, Tensor], targets: Tensor, classes: int, students: int, mask: Tensor | None
) -> dict[str, Tensor]:
    """How often each network is right for the others of a batch with an instance's label, [B], by name of feature.

    One more counts that has the batch's mean: it is all there is where a class stands alone in its batch, and little
    where it has many instances.

    Args:
        columns: as of `of_batch`, and what it gave.
        targets: [B] class indices.
        classes: C.
        students: as of `of_batch`.
        mask: as of `of_batch`.
    """
    right = torch.stack([columns[name] for name in RIGHT])
    counts = torch.ones_like(right[0]) if mask is None else mask.to(right.dtype)
    counted = torch.cat((right * counts, counts[None]))
    # Every student has classes of its own. Sums of zeros and ones are exact in any order.
    own = torch.arange(students, device=targets.device).unsqueeze(1) * classes
    group = (own + targets.unflatten(0, (students, -1))).flatten().expand_as(counted)
    sums = torch.zeros_like(counted[:, :1]).repeat(1, students * classes).scatter_add(1, group, counted)
    others = sums.gather(1, group) - counted
    mean = torch.stack([columns[f"batch_{name}"] for name in RIGHT])
    return dict(zip(CLASS_FEATURES, (others[:-1] + mean) / (others[-1:] + 1.0), strict=True))
