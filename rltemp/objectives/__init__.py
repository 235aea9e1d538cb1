"""Objectives: losses per instance that take `Temperatures`."""

from rltemp.objectives.dkd import dkd_loss
from rltemp.objectives.kd import kd_loss

__all__ = ["dkd_loss", "kd_loss"]
