"""What the arena shows, in English: every sentence follows from the values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rltemp.experiments.arena.outcome import ArenaOutcome, Ruling
from rltemp.experiments.report.arena_tables import TIMES, cell_name, is_diverged
from rltemp.experiments.report.regret_map import RegretMap, make_map, place
from rltemp.experiments.report.sentences import signed

__all__ = ["arena_budgets", "arena_headlines"]

LISTED = 6
"""Cells or reasons named in a sentence before the rest is counted."""

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
    sentences = _better({method: places for method, places in rulings.items() if kinds[method] != "trained"})
    sentences += [_ruled(method, places) for method, places in rulings.items() if kinds[method] == "trained"]
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


def _rulings(outcome: ArenaOutcome) -> dict[str, dict[Ruling, list[str]]]:
    """For each method whose ruling was asked anywhere: the cells of each ruling."""
    lines = [(cell_name(cell.cell), line) for cell in outcome.cells for line in cell.lines]
    asked = {line.method for _, line in lines if line.ruling not in ("", "diverged")}
    found: dict[str, dict[Ruling, list[str]]] = {}
    for name, line in lines:
        if line.method in asked and line.ruling:
            found.setdefault(line.method, {}).setdefault(line.ruling, []).append(name)
    return found


def _better(rulings: dict[str, dict[Ruling, list[str]]]) -> list[str]:
    """Where rules, methods and single settings are better than all their matched controls, in one sentence."""
    if not rulings:
        return []
    parts = []
    for method, places in rulings.items():
        if cells := places.get("better", []):
            parts.append(f"“{method}” in {len(cells)} of {_cells(_judged(places))} ({_listed(cells, '; ')})")
    if rest := len(rulings) - len(parts):
        parts.append(f"none of {'the other ' if parts else ''}{rest} rules, methods and single settings")
    return [f"Better than all matched controls: {', '.join(parts)}."]


def _ruled(method: str, places: dict[Ruling, list[str]]) -> str:
    parts = []
    for ruling, phrase in PHRASES.items():
        cells = places.get(ruling, [])
        if cells or ruling == "better":
            named = f" ({_listed(cells, '; ')})" if cells and ruling in ("better", "worse") else ""
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


def _judged(places: dict[Ruling, list[str]]) -> int:
    return sum(map(len, places.values()))


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    rest = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return separator.join([*names[:LISTED], *rest])
