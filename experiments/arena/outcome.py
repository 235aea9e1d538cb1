"""What the arena found, as values: a judged line per method in every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rltemp.experiments.evaluation.measure import Measure
from rltemp.experiments.evaluation.statistics import Difference

__all__ = ["ArenaOutcome", "Cell", "CellOutcome", "Kind", "Line", "Ruling"]

Kind = Literal["bound", "reference", "single", "rule", "preset", "trained", "control"]
"""What a line is: a bound (the teacher, no distillation), a reference tuned on the task, one setting for every task, a
published rule with its options tuned, a whole published method, a trained policy, or a matched control of one."""

Ruling = Literal["better", "not better", "worse", "withheld", "diverged", ""]
"""Against all matched controls together; "withheld" where the comparison would not be fair, "" where none is asked."""


@dataclass(frozen=True, order=True)
class Cell:
    """Where methods are compared.

    Attributes:
        task: name of the task, such as "digits".
        condition: what is wrong with it, such as "clean" or "30 % wrong labels".
        budget: updates, in multiples of the task's own, >= 1.
    """

    task: str
    condition: str
    budget: int


@dataclass(frozen=True)
class Line:
    """One method in one cell.

    Attributes:
        method: what it is called in every cell, such as "static, tuned" or "lskd".
        setting: what it came to here, such as "T = 2, scale 4".
        kind: what kind of line it is.
        accuracy: mean test accuracy with its interval over students, in [0, 1].
        nll: mean test cross-entropy in nats.
        calibration_error: expected calibration error, in [0, 1].
        agreement: share of test images with the teacher's prediction, in [0, 1].
        divergence: KL divergence of the student from the teacher on test images, in nats.
        passes: instances that pass through the student in one direction, or through the teacher, per update; 0 for
            a bound.
        overhead: share of these passes that a static temperature would not make, in [0, 1).
        tuning_runs: student runs on this task's data that its options, or its training, took.
        regret: what is judged of the tuned reference, on test data, less this one's, paired: accuracy in [0, 1], or
            minus the bits per character; None for bounds and the reference itself.
        regret_nll: nats above the tuned reference; 0 for that one itself.
        ruling: whether it is better than all its matched controls.
        reasons: why the ruling is withheld, or which controls it is not better than.
        bits: mean bits per test character with their interval over students, where they are what is judged; else None.
    """

    method: str
    setting: str
    kind: Kind
    accuracy: Difference
    nll: float
    calibration_error: float
    agreement: float
    divergence: float
    passes: float
    overhead: float
    tuning_runs: int
    regret: Difference | None
    regret_nll: float
    ruling: Ruling
    reasons: tuple[str, ...] = ()
    bits: Difference | None = None


@dataclass(frozen=True)
class CellOutcome:
    """One cell.

    Attributes:
        cell: where.
        updates: of one run.
        students: paired students behind every line.
        recipe: what the tuning of the recipe settled on, in words.
        lines: bounds first, then references, single settings, rules, presets, trained policies, controls.
        measure: what is judged.
    """

    cell: Cell
    updates: int
    students: int
    recipe: str
    lines: tuple[Line, ...]
    measure: Measure = "accuracy"

    def line(self, method: str) -> Line | None:
        """The line of a method; None if it was not run here."""
        return next((line for line in self.lines if line.method == method), None)


@dataclass(frozen=True)
class ArenaOutcome:
    """All cells of one arena.

    Attributes:
        cells: in the order of tasks, conditions, budgets.
        machine: what it ran on (`describe_machine`).
        command: the command line that makes it again.
    """

    cells: tuple[CellOutcome, ...]
    machine: Mapping[str, str | int]
    command: str
