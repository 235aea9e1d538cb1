"""Policies: rules and trained networks that choose the temperature of every instance."""

from rltemp.policies.policy import TemperaturePolicy
from rltemp.policies.registry import list_policies, make_policy

__all__ = ["TemperaturePolicy", "list_policies", "make_policy"]
