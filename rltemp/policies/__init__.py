"""Policies: what chooses the temperatures."""

from rltemp.policies.base import TemperaturePolicy
from rltemp.policies.registry import PolicyEntry, list_policies, make_policy

__all__ = ["PolicyEntry", "TemperaturePolicy", "list_policies", "make_policy"]
