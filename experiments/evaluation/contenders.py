"""Whatever chooses temperatures, by its text: a policy, or an agent that learns in the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rltemp.experiments.evaluation.policy_spec import PolicySpec
from rltemp.experiments.evaluation.specs import parse_policy

if TYPE_CHECKING:
    from rltemp.experiments.evaluation.agent_specs import AgentSpec

__all__ = ["parse_contender"]

_AGENTS = ("rlkd", "rlkd-as-released")


def parse_contender(text: str) -> PolicySpec | AgentSpec:
    """Exactly one policy, or one agent that learns in the run.

    Raises:
        InputError: as `parse_policy` and `parse_agent`.
    """
    if text.strip().partition("(")[0] not in _AGENTS:
        return parse_policy(text)
    from rltemp.experiments.evaluation.agent_specs import parse_agent  # with SB3, which takes seconds to import

    return parse_agent(text)
