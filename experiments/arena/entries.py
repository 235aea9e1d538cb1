"""A method in one cell, before it is judged: what it reached, and what it had."""

from __future__ import annotations

import dataclasses

from rltemp.experiments.arena.outcome import Kind
from rltemp.experiments.evaluation.measure import Measure, judged_score
from rltemp.experiments.evaluation.passes import Passes
from rltemp.experiments.evaluation.results import PolicyResult

__all__ = ["Entry"]


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One method in one cell.

    Attributes:
        method: what it is called in every cell.
        setting: what it came to here.
        kind: what kind of line it becomes.
        results: one per training of the method; one for all but groups.
        passes: per update of one student.
        updates: of one run.
        tuning_runs: student runs on this task's data that its options, or its training, took.
        reads_probe: whether it sees clean training images beside its batches.
        objections: why no ruling on it would be fair, whatever it is compared with.
    """

    method: str
    setting: str
    kind: Kind
    results: tuple[PolicyResult, ...]
    passes: Passes
    updates: int
    tuning_runs: int
    reads_probe: bool = False
    objections: tuple[str, ...] = ()

    @property
    def compute(self) -> float:
        """Passes of one run."""
        return self.passes.total * self.updates

    def validation_score(self, measure: Measure) -> float:
        """What is judged, on validation data: mean over students, and trainings if there are several."""
        parts = (judged_score(measure, one.validation_accuracy, one.validation_nll).mean() for one in self.results)
        return float(sum(parts) / len(self.results))

    @property
    def diverged(self) -> int:
        """Students, over all results."""
        return sum(result.diverged for result in self.results)
