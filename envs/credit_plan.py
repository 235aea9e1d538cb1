"""Which updates of a run are credited in hindsight, and between which states they are replayed."""

from __future__ import annotations

import dataclasses
import math

from rltemp.recipes.schema import Agent

__all__ = ["CreditPlan"]


@dataclasses.dataclass(frozen=True)
class CreditPlan:
    """How a run of T updates is looked back upon.

    Attributes:
        updates: T, >= 1.
        window: share of the run, at its end and in (0, 1], that is looked back upon: one update at least.
        every: of the window's updates, the last one and every so many before it are credited, >= 1; the curvature of a
            credited update stands for those between it and the next, whose own is not computed.
        checkpoints: keep the run's state about √n times where n updates are credited, and make what lies between anew,
            instead of keeping every credited update.
    """

    updates: int
    window: float = 1.0
    every: int = 1
    checkpoints: bool = False

    @classmethod
    def of(cls, agent: Agent, updates: int) -> CreditPlan:
        """The plan of an agent's settings for runs of so many updates."""
        return cls(updates, agent.window, agent.credit_every, agent.checkpoints == "auto")

    @property
    def first(self) -> int:
        """The window's first update."""
        return self.updates - max(1, round(self.window * self.updates))

    @property
    def length(self) -> int:
        """Updates of the window, >= 1."""
        return self.updates - self.first

    @property
    def credited(self) -> int:
        """Number of updates that are credited, >= 1."""
        return -(-self.length // self.every)

    @property
    def segment(self) -> int:
        """Updates between two states, of which so many are kept as credited updates between them: √n each."""
        return math.ceil(math.sqrt(self.length * self.every)) if self.checkpoints else self.length

    @property
    def starts(self) -> range:
        """The updates before which the run's state is kept."""
        return range(self.first, self.updates, self.segment)

    def credits(self, update: int) -> bool:
        """Whether an update in [0, T) is credited."""
        return update >= self.first and (self.updates - 1 - update) % self.every == 0
