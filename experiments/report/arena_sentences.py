"""What the arena shows, in English: every sentence follows from the values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rltemp.experiments.arena.outcome import ArenaOutcome, Cell, Ruling
from rltemp.experiments.report.arena_tables import TIMES, is_diverged
from rltemp.experiments.report.regret_map import RegretMap, make_map, place
from rltemp.experiments.report.sentences import signed

__all__ = ["arena_budgets", "arena_headlines"]

LISTED = 6
"""Tasks, conditions, methods or reasons named in a sentence before the rest is counted."""

PHRASES: dict[Ruling, str] = {
    "better": "better than all its matched controls in",
    "not better": "not better than all of them in",
    "worse": "worse in",
    "withheld": "without a ruling in",
    "diverged": "diverged in",
}


def arena_headlines(outcome: ArenaOutcome) -> tuple[str, ...]:
    """Which methods are better where, which rulings are withheld and why, and what one setting for all costs."""
    kinds = {line.method: line.kind for cell in outcome.cells for line in cell.lines}
    rulings = _rulings(outcome)
    asked = sum(len(cells) for places in rulings.values() for cells in places.values())
    everywhere = [cell.cell for cell in outcome.cells]
    rules = {method: places for method, places in rulings.items() if kinds[method] != "trained"}
    sentences = _better(rules, everywhere)
    sentences += [_ruled(method, places, everywhere) for method, places in rulings.items() if method not in rules]
    sentences = sentences or ["No method was held against matched controls."]
    sentences += _withheld(outcome, asked) + _diverged(outcome)
    budgets = arena_budgets(outcome)
    for budget in budgets:
        sentences += _singles(make_map(outcome, budget))
    if len(budgets) == 1:
        sentences.append(f"All of this is at {TIMES}{budgets[0]}; runs of another length were not looked at.")
    return tuple(sentences)


def arena_budgets(outcome: ArenaOutcome) -> tuple[int, ...]:
    """The lengths of training, from short to long."""
    return tuple(sorted({cell.cell.budget for cell in outcome.cells}))


def _rulings(outcome: ArenaOutcome) -> dict[str, dict[Ruling, list[Cell]]]:
    """For each method whose ruling was asked anywhere: the cells of each ruling."""
    lines = [(cell.cell, line) for cell in outcome.cells for line in cell.lines]
    asked = {line.method for _, line in lines if line.ruling not in ("", "diverged")}
    found: dict[str, dict[Ruling, list[Cell]]] = {}
    for cell, line in lines:
        if line.method in asked and line.ruling:
            found.setdefault(line.method, {}).setdefault(line.ruling, []).append(cell)
    return found


def _better(rulings: dict[str, dict[Ruling, list[Cell]]], everywhere: Sequence[Cell]) -> list[str]:
    """Where rules, methods and single settings are better than all their matched controls, in one sentence."""
    if not rulings:
        return []
    parts = []
    for method, places in rulings.items():
        if cells := places.get("better", []):
            parts.append(f"“{method}” in {len(cells)} of {_cells(_judged(places))} ({_where(cells, everywhere)})")
    if rest := len(rulings) - len(parts):
        parts.append(f"none of {'the other ' if parts else ''}{rest} rules, methods and single settings")
    return [f"Better than all matched controls: {', '.join(parts)}."]


def _ruled(method: str, places: dict[Ruling, list[Cell]], everywhere: Sequence[Cell]) -> str:
    parts = []
    for ruling, phrase in PHRASES.items():
        cells = places.get(ruling, [])
        if cells or ruling == "better":
            named = f" ({_where(cells, everywhere)})" if cells and ruling in ("better", "worse") else ""
            parts.append(f"{phrase} {len(cells)}{named}")
    return f"“{method}”, judged in {_cells(_judged(places))}: {', '.join(parts)}."


def _withheld(outcome: ArenaOutcome, asked: int) -> list[str]:
    withheld = [line for cell in outcome.cells for line in cell.lines if line.ruling == "withheld"]
    if not withheld:
        return []
    reasons = Counter(reason for line in withheld for reason in line.reasons or ("no reason given",))
    listed = _listed([f"{reason} ({count} {TIMES})" for reason, count in reasons.most_common()], "; ")
    return [f"{len(withheld)} of {asked} rulings {'is' if len(withheld) == 1 else 'are'} withheld: {listed}."]


def _diverged(outcome: ArenaOutcome) -> list[str]:
    counts = Counter(line.method for cell in outcome.cells for line in cell.lines if is_diverged(line))
    listed = _listed([f"“{method}” in {_cells(count)}" for method, count in counts.items()])
    return [f"Diverged: {listed}."] if counts else []


def _singles(regrets: RegretMap) -> list[str]:
    """What somebody loses who searches nothing."""
    parts = []
    for row in regrets.rows:
        if row.kind == "single" and row.regrets:
            assert row.worst is not None
            worst = row.entries[row.worst]
            assert worst is not None
            height = "diverged" if worst.diverged else f"{signed(worst.regret)} at worst"
            where = place(regrets.columns[row.worst])
            parts.append(f"“{row.method}” {signed(row.mean)} in the mean, {height} ({where})")
    if not parts:
        return []
    return [f"Points lost at {TIMES}{regrets.budget} to the reference tuned on each task: {'; '.join(parts)}."]


def _where(cells: Sequence[Cell], everywhere: Sequence[Cell]) -> str:
    """Cells by task: "a, b: clean; c: all 4 cells; d: clean, noise only ×3". Tasks with the same cells go together."""
    tasks: dict[str, list[str]] = {}
    for task in dict.fromkeys(cell.task for cell in cells):
        here = [cell for cell in cells if cell.task == task]
        there = [cell for cell in everywhere if cell.task == task]
        names = [_condition(name, here, there) for name in dict.fromkeys(cell.condition for cell in here)]
        whole = len(here) > 1 and len(here) == len(there)
        tasks.setdefault(f"all {len(here)} cells" if whole else _listed(names), []).append(task)
    return "; ".join(f"{_listed(names)}: {conditions}" for conditions, names in tasks.items())


def _condition(name: str, cells: Sequence[Cell], everywhere: Sequence[Cell]) -> str:
    """A condition, with its lengths where they are not all that were looked at."""
    lengths = [f"{TIMES}{cell.budget}" for cell in cells if cell.condition == name]
    whole = len(lengths) == sum(cell.condition == name for cell in everywhere)
    return name if whole else f"{name} only {' '.join(lengths)}"


def _judged(places: dict[Ruling, list[Cell]]) -> int:
    return sum(map(len, places.values()))


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    rest = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return separator.join([*names[:LISTED], *rest])
