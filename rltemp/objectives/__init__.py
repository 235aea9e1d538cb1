"""Objectives: distillation losses per instance, at given `Temperatures`."""

from rltemp.objectives.criterion import DistillationLoss, LossParts
from rltemp.objectives.divergences import JensenShannonKD, ReverseKD, SkewedKD
from rltemp.objectives.dkd import DKD, dkd_loss
from rltemp.objectives.kd import KD, kd_loss
from rltemp.objectives.mixed import AdaptiveKD, EntropySplitKD
from rltemp.objectives.objective import Objective

__all__ = [
    "DKD",
    "KD",
    "AdaptiveKD",
    "DistillationLoss",
    "EntropySplitKD",
    "JensenShannonKD",
    "LossParts",
    "Objective",
    "ReverseKD",
    "SkewedKD",
    "dkd_loss",
    "kd_loss",
]
