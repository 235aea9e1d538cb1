"""What one step of a distillation environment did, student by student and instance by instance."""

import dataclasses

import numpy as np
import numpy.typing as npt

from rltemp.errors import InputError

__all__ = ["LastTransition", "Transition"]


@dataclasses.dataclass(frozen=True, eq=False)
class Transition:
    """One update of K students on B instances each: what was seen and chosen, and what came of it.

    A vector environment of K * B slots tells no more than one number per slot; whoever divides the reward of a batch
    among its instances needs the rest.

    Attributes:
        features: what the policy saw; [K, B, F] float32, in [0, 1].
        temperatures: what it chose; [K, B] float32, > 0.
        influence: first-order effect of an instance's own distillation gradient, at its temperature, on the reduction
            of the probe loss; [K, B] float32, larger is better, in units of its own; NaN where the environment was
            not asked for it.
        reward: reduction of the probe loss by the update, or by several with the last of them (0 with the others);
            [K] float32.

    Raises:
        InputError: for shapes that disagree.
    """

    features: npt.NDArray[np.float32]
    temperatures: npt.NDArray[np.float32]
    influence: npt.NDArray[np.float32]
    reward: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.features.ndim != 3:
            raise InputError(f"features must have shape [K, B, F], got {list(self.features.shape)}")
        slots = self.features.shape[:2]
        for name, array, want in (
            ("temperatures", self.temperatures, slots),
            ("influence", self.influence, slots),
            ("reward", self.reward, slots[:1]),
        ):
            if array.shape != want:
                raise InputError(f"{name} must have shape {list(want)}, got {list(array.shape)}")


class LastTransition:
    """An environment that tells what its last step did; `reset` and `step` set `_transition`."""

    _transition: Transition | None = None

    @property
    def transition(self) -> Transition:
        """What the last step did.

        Raises:
            InputError: before the first step.
        """
        if self._transition is None:
            raise InputError("transition is what the last step did, and there was none yet: call step()")
        return self._transition
