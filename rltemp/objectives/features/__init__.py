"""Objectives on features: losses between the networks' activations, to be combined with a temperature policy."""

from rltemp.objectives.features.crd import CRD
from rltemp.objectives.features.feature_criterion import FeatureDistillationLoss
from rltemp.objectives.features.feature_objective import Activations, FeatureObjective
from rltemp.objectives.features.pkt import PKT
from rltemp.objectives.features.sp import SP
from rltemp.objectives.features.srrl import SRRL
from rltemp.objectives.features.vid import VID
from rltemp.objectives.features.watch import Watch

__all__ = ["CRD", "PKT", "SP", "SRRL", "VID", "Activations", "FeatureDistillationLoss", "FeatureObjective", "Watch"]
