"""Agents as a person names them: rlkd, rlkd-as-released, or one of them with options, such as rlkd(every=0.5)."""

from __future__ import annotations

from dataclasses import dataclass

from rltemp.agents import Online, OnlineRun, make_online
from rltemp.distillation import Task
from rltemp.experiments.evaluation.specs import parse_call

__all__ = ["AgentSpec", "parse_agent"]


@dataclass(frozen=True)
class AgentSpec:
    """An agent that learns in the run that it acts in.

    Attributes:
        name: as it was typed.
        online: the settings.
    """

    name: str
    online: Online

    def start(self, task: Task, seed: int, scale: float | None) -> OnlineRun:
        """A new run of one student with this seed; `scale` is that of `OnlineRun`."""
        return OnlineRun(task, self.online, seed, scale=scale)


def parse_agent(text: str) -> AgentSpec:
    """Exactly one agent.

    Raises:
        InputError: for an unknown agent or option, or a value that it does not take.
    """
    name, options = parse_call(text.strip())
    return AgentSpec(text.strip(), make_online(name, **options))
