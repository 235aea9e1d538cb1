"""A criterion that adds an objective on features to the loss at a policy's temperatures."""

from __future__ import annotations

from torch import Tensor, nn

from rltemp.checks import check_number
from rltemp.objectives.criterion import DistillationLoss
from rltemp.objectives.features.feature_objective import Activations, FeatureObjective

__all__ = ["FeatureDistillationLoss"]


class FeatureDistillationLoss(nn.Module):
    """The sum `distillation` + weight * `objective`: any temperature policy with any objective on features.

    The parameters are those of the policy and of the objective's side modules; train, save, and resume them with the
    student.

    Args:
        distillation: cross-entropy and distillation at the policy's temperatures. As its weights, papers that combine
            the two take 1 and 1 (Tian et al., 2020) or 0.1 and 0.9 (Li et al., 2023).
        objective: `PKT()`, `SP()`, `VID(...)`, `CRD(...)`, or `SRRL(...)`.
        weight: factor on the objective, >= 0; by default that of the objective's paper.
    """

    def __init__(
        self, distillation: DistillationLoss, objective: FeatureObjective, weight: float | None = None
    ) -> None:
        super().__init__()
        self.distillation, self.objective = distillation, objective
        self.weight = check_number("weight", objective.weight if weight is None else weight, low=0.0)

    def forward(
        self,
        student: Activations,
        teacher: Activations,
        targets: Tensor | None = None,
        progress: float | Tensor = 0.0,
        alignment: Tensor | None = None,
        indices: Tensor | None = None,
    ) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            student: activations of B instances.
            teacher: activations of the same instances.
            targets: [B] class indices; required by a `ce_weight` > 0, and by some policies.
            progress: share of the run that is done, in [0, 1].
            alignment: [B, A], required by some policies.
            indices: [B] positions of the instances in the training data; required by CRD.

        Raises:
            InputError: for inputs that policy or objective refuse.
        """
        distillation: Tensor = self.distillation(student.logits, teacher.logits, targets, progress, alignment)
        features: Tensor = self.objective(student, teacher, indices)
        return distillation + self.weight * features
