"""Objectives: distillation losses per instance, at given `Temperatures`."""

from rltemp.objectives.criterion import DistillationLoss, LossParts
from rltemp.objectives.dkd import DKD, dkd_loss
from rltemp.objectives.kd import KD, kd_loss
from rltemp.objectives.objective import Objective

__all__ = ["DKD", "KD", "DistillationLoss", "LossParts", "Objective", "dkd_loss", "kd_loss"]
