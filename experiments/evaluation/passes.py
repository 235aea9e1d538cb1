"""What an update costs, in instances that pass through a network, by which policies compare at equal compute."""

from __future__ import annotations

from dataclasses import dataclass

from rltemp.checks import check_number
from rltemp.errors import InputError
from rltemp.recipes import Recipe
from rltemp.recipes.loading import count_updates
from rltemp.recipes.schema import Data

__all__ = ["Passes", "count_passes"]


@dataclass(frozen=True)
class Passes:
    """Instances that pass through a network per update of one student, >= 0, as means over the updates of a run.

    Attributes:
        student_forward: through the student, for its loss; > 0.
        student_backward: through the student, for its loss.
        teacher_forward: through the teacher; an ensemble counts as one network.
        probe_forward: through the student, for a policy's probe.
        probe_backward: through the student, for the gradient of a policy's probe.
        tangent: through the student, for the rate at which logits change along that gradient; an instance counts twice,
            once for its logits and once for their derivative.

    Raises:
        InputError: for a number out of its range.
    """

    student_forward: float
    student_backward: float
    teacher_forward: float
    probe_forward: float
    probe_backward: float
    tangent: float

    def __post_init__(self) -> None:
        check_number("student_forward", self.student_forward, low=0.0, low_open=True)
        for name in ("student_backward", "teacher_forward", "probe_forward", "probe_backward", "tangent"):
            check_number(name, getattr(self, name), low=0.0)

    @property
    def total(self) -> float:
        """All of them; a backward pass counts as much as a forward pass, and the teacher as much as the student."""
        return self.student_forward + self.student_backward + self.teacher_forward + self._of_policy

    @property
    def overhead(self) -> float:
        """Share of the total that a static temperature would not need, in [0, 1)."""
        return self._of_policy / self.total

    @property
    def _of_policy(self) -> float:
        return self.probe_forward + self.probe_backward + self.tangent


def count_passes(recipe: Recipe, needs_alignment: bool) -> Passes:
    """Passes per update of a run by itself, without its validation and test.

    With a batch of B instances, and P = `policy.probe_size` probe images, at most all training images, in the share s =
    ceil(updates / `policy.every`) / updates of the updates, both times `data.context` for texts, whose instances are
    tokens:

    - the student's loss takes B forward and B backward, and with `optimization.probe_weight` s P more of each;
    - the teacher takes B forward, or none if it answered all views of the images before the run (`data.views`, or
      images in memory without random augmentation). A comparison of policies on the same students asks it once for all;
    - the alignment takes s P forward. Through the "classifier", the gradient is a closed form of the outputs, and an
      instance's change a product with the features that the loss has anyway. Through the "network", it takes s P
      backward, and one forward-mode derivative on the B instances of every update: 2 B, since it computes their logits
      again.

    Args:
        recipe: a recipe that can be built.
        needs_alignment: whether the policy observes the probe alignment.

    Raises:
        InputError: for a policy that needs the alignment if `policy.alignment` is "none".
    """
    space, optimization = recipe.policy, recipe.optimization
    if needs_alignment and space.alignment == "none":
        raise InputError("policy.alignment must be 'classifier' or 'network' for a policy that needs it, got 'none'")
    batch, images, tokens = float(recipe.instances), recipe.data.train, recipe.data.context or 1
    updates = count_updates(recipe)
    probe = tokens * min(space.probe_size, images) * -(-updates // space.every) / updates
    term = probe if optimization.probe_weight > 0.0 else 0.0
    through_network = needs_alignment and space.alignment == "network"
    return Passes(
        student_forward=batch + term,
        student_backward=batch + term,
        teacher_forward=0.0 if _is_banked(recipe.data) else batch,
        probe_forward=probe if needs_alignment else 0.0,
        probe_backward=probe if through_network else 0.0,
        tangent=2.0 * batch if through_network else 0.0,
    )


def _is_banked(data: Data) -> bool:
    """Whether all views' logits are computed before the run, as far as a recipe tells what its source prepares."""
    random = bool(data.shift or data.flip or data.noise)
    return data.in_memory and (data.views is not None or not random)
