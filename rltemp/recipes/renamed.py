"""Names that fields of a recipe had in earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rltemp.errors import InputError

__all__ = ["refuse_old_names", "rename_agent", "rename_recipe"]

_AGENT = {"calibration": "credit", "epochs": "n_epochs", "log_std": "log_std_init"}


def refuse_old_names(values: Mapping[str, Any]) -> None:
    """Check that a recipe's nested values go by today's names.

    Raises:
        InputError: for an old name, with today's.
    """
    agent = values.get("agent")
    for old, new in _AGENT.items():
        if isinstance(agent, Mapping) and old in agent:
            raise InputError(f"agent.{new} must be given by this name, got its old one, agent.{old}")


def rename_agent(settings: Mapping[str, Any]) -> dict[str, Any]:
    """An agent's settings, as an earlier version kept them, by today's names."""
    return {_AGENT.get(name, name): value for name, value in settings.items()}


def rename_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's nested values, as an earlier version kept them, by today's names."""
    agent = values.get("agent")
    return {**values, "agent": rename_agent(agent)} if isinstance(agent, Mapping) else dict(values)
