"""What one update of students did: the value that learners get beside the rewards of slots."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rltemp.errors import InputError

__all__ = ["Flags", "Floats", "Transition", "joined"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class Transition:
    """One update of K students on B instances each: features, temperatures, reward, and influence of each instance.

    A vector environment returns one reward per slot; dividing a student's reward among its instances needs these values
    as well.

    Attributes:
        features: what the policy observed; [K, B, F] float32, in [0, 1].
        temperatures: what the policy chose; [K, B] float32, > 0.
        reward: decrease of the probe loss by the update; [K] float32, in nats. If several updates are rewarded
            together, the last has the sum, and the others have 0.
        influence: first-order decrease of the probe loss by each instance's own distillation gradient at its
            temperature; [K, B] float32, larger is better, in a unit of the environment's choice; None if the
            environment does not compute it.
        lost: students that diverged by this update or an earlier one; [K] bool, or None for nobody. The update by which
            a student is lost pays all that it lost, and has no influence; all later ones pay 0, on features of 0.

    Raises:
        InputError: for shapes that disagree.
    """

    features: Floats
    temperatures: Floats
    reward: Floats
    influence: Floats | None = None
    lost: Flags | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 3:
            raise InputError(f"features must have shape [K, B, F], got {list(self.features.shape)}")
        slots = self.features.shape[:2]
        for name, array, want in (
            ("temperatures", self.temperatures, slots),
            ("reward", self.reward, slots[:1]),
            ("influence", self.influence, slots),
            ("lost", self.lost, slots[:1]),
        ):
            if array is not None and array.shape != want:
                raise InputError(f"{name} must have shape {list(want)}, got {list(array.shape)}")

    def of(self, students: Flags) -> Transition:
        """The transition of some of the students, [K] bool."""
        whole = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        part: dict[str, Any] = {name: None if value is None else value[students] for name, value in whole.items()}
        return Transition(**part)


def joined(parts: Sequence[Transition]) -> Transition:
    """The transition of all students, from those of each part of them."""
    if len(parts) == 1:
        return parts[0]
    each = {field.name: [getattr(part, field.name) for part in parts] for field in dataclasses.fields(Transition)}
    whole: dict[str, Any] = {name: None if own[0] is None else np.concatenate(own) for name, own in each.items()}
    return Transition(**whole)
