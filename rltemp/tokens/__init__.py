"""Distillation of language models token by token: large vocabularies."""

from rltemp.tokens.criterion import linear_distillation_loss
from rltemp.tokens.linear import linear_kd_loss, linear_temperatures

__all__ = ["linear_distillation_loss", "linear_kd_loss", "linear_temperatures"]
