"""Policies: what chooses the temperatures."""

from rltemp.policies.policy import TemperaturePolicy
from rltemp.policies.registry import list_policies, make_policy

__all__ = ["TemperaturePolicy", "list_policies", "make_policy"]
