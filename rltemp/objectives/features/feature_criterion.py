"""A temperature policy's loss and an objective on features, as one criterion."""

from __future__ import annotations

from torch import Tensor, nn

from rltemp.checks import check_number
from rltemp.objectives.criterion import DistillationLoss
from rltemp.objectives.features.feature_objective import Activations, FeatureObjective

__all__ = ["FeatureDistillationLoss"]


class FeatureDistillationLoss(nn.Module):
    """DistillationLoss + weight * objective on features: any policy with any objective.

    Its parameters are those of the policy and of the objective's side modules; train, save and resume them with the
    student.

    Args:
        distillation: cross-entropy and distillation at the policy's temperatures. The papers that combine take 1 and 1
            (Tian et al., 2020) or 0.1 and 0.9 (Li et al., 2023) as its weights.
        objective: `PKT()`, `SP()`, `VID(...)`, `CRD(...)` or `SRRL(...)`.
        weight: of the objective, >= 0; by default its paper's.
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
        """The loss, a scalar.

        Args:
            student: of B instances.
            teacher: of the same instances.
            targets: [B] class indices.
            progress: how far the run is, in [0, 1].
            alignment: [B, A] for a policy that needs it.
            indices: [B], which instances of the training data they are, for an objective that needs it.
        """
        distillation: Tensor = self.distillation(student.logits, teacher.logits, targets, progress, alignment)
        features: Tensor = self.objective(student, teacher, indices)
        return distillation + self.weight * features
