"""Objectives on features: what other methods teach beside the softened logits."""

from rltemp.objectives.features.crd import CRD
from rltemp.objectives.features.feature_criterion import FeatureDistillationLoss
from rltemp.objectives.features.feature_objective import Activations, FeatureObjective
from rltemp.objectives.features.pkt import PKT
from rltemp.objectives.features.sp import SP
from rltemp.objectives.features.srrl import SRRL
from rltemp.objectives.features.vid import VID
from rltemp.objectives.features.watch import Watch

__all__ = ["CRD", "PKT", "SP", "SRRL", "VID", "Activations", "FeatureDistillationLoss", "FeatureObjective", "Watch"]
