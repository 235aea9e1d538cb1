"""The map: how far every method stays below the tuned reference, over tasks and conditions, as values and as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import ArenaOutcome, Cell, Kind, Line
from rltemp.experiments.report.arena_tables import DASH, is_diverged
from rltemp.experiments.report.sentences import signed
from rltemp.markdown import escape_markdown

__all__ = [
    "DIVERGED",
    "MAP_NOTE",
    "WIDEST",
    "Entry",
    "MapRow",
    "RegretMap",
    "make_map",
    "map_to_html",
    "map_to_markdown",
    "mean_text",
    "place",
    "regret_color",
    "summary_groups",
]

WIDEST = 12
"""Columns of cells that a page of text has room for."""

DIVERGED = "div."

MAP_NOTE = (
    "Points of test accuracy below the reference tuned on that very task, of texts hundredths of a bit per character "
    "above it: 0 is as good, + is worse. Bold where the "
    f"95 % interval excludes 0; {DASH} where the method was not run; {DIVERGED} where it diverged, which no mean "
    "includes. Rows are sorted by their mean, those that ever diverged last; n is said where a mean is not over all "
    "columns, and means over different columns do not compare."
)

STRONGEST, FINEST = 0.1, 0.0025
"""Regrets with the full color, and where colors go from even steps of regret to even ratios."""

WORSE, BETTER, OPACITY = (213, 94, 0), (59, 130, 196), 0.6
"""Vermilion and blue, told apart with every common color blindness; never too dense for text to be read on them."""


@dataclass(frozen=True)
class Entry:
    """One method in one cell.

    Attributes:
        regret: accuracy below the reference, in [-1, 1], or bits per character above it; NaN if the method diverged.
        clear: whether its interval excludes 0.
    """

    regret: float
    clear: bool = False

    @property
    def diverged(self) -> bool:
        """Whether there is no regret to speak of."""
        return math.isnan(self.regret)


@dataclass(frozen=True)
class MapRow:
    """One method over the cells.

    Attributes:
        method: what it is called.
        kind: what kind of method it is.
        entries: one per column of the map; None where it was not run.
    """

    method: str
    kind: Kind
    entries: tuple[Entry | None, ...]

    @property
    def regrets(self) -> tuple[float, ...]:
        """Of the cells where it was run and did not diverge."""
        return tuple(entry.regret for entry in self.entries if entry is not None and not entry.diverged)

    @property
    def diverged(self) -> int:
        """In how many cells it did."""
        return sum(entry is not None and entry.diverged for entry in self.entries)

    @property
    def mean(self) -> float:
        """Of `regrets`; NaN if there are none."""
        return math.fsum(self.regrets) / len(self.regrets) if self.regrets else math.nan

    @property
    def worst(self) -> int | None:
        """The column with the highest regret, or the first where it diverged; None if it was run nowhere."""
        run = [(entry.regret, i) for i, entry in enumerate(self.entries) if entry is not None]
        return min(run, key=lambda pair: (not math.isnan(pair[0]), -pair[0], pair[1]))[1] if run else None


@dataclass(frozen=True)
class RegretMap:
    """Regret at one budget.

    Attributes:
        budget: updates, in multiples of the task's own.
        columns: the cells.
        rows: by mean regret, methods that ever diverged last.
    """

    budget: int
    columns: tuple[Cell, ...]
    rows: tuple[MapRow, ...]


def make_map(outcome: ArenaOutcome, budget: int) -> RegretMap:
    """The map of one budget, without bounds and matched controls.

    Raises:
        InputError: if no cell has this budget.
    """
    cells = [cell for cell in outcome.cells if cell.cell.budget == budget]
    if not cells:
        there = sorted({cell.cell.budget for cell in outcome.cells})
        raise InputError(f"budget must be one of {', '.join(map(str, there)) or 'none'}, got {budget}")
    kinds: dict[str, Kind] = {}
    for cell in cells:
        for line in cell.lines:
            if line.kind not in ("bound", "control"):
                kinds.setdefault(line.method, line.kind)
    rows = [MapRow(method, kind, tuple(_entry(cell.line(method)) for cell in cells)) for method, kind in kinds.items()]
    rows.sort(key=lambda row: (row.diverged > 0, not row.regrets, row.mean if row.regrets else 0.0))
    return RegretMap(budget, tuple(cell.cell for cell in cells), tuple(rows))


def map_to_markdown(regrets: RegretMap) -> str:
    """The map in GitHub's Markdown, with a line end at its end.

    With more than `WIDEST` cells its columns are means over tasks and over conditions, and where the worst cell is.
    """
    wide = len(regrets.columns) > WIDEST
    groups = summary_groups(regrets) if wide else {place(cell): (i,) for i, cell in enumerate(regrets.columns)}
    lines = [["Method", *map(escape_markdown, groups), "Mean", "Worst"]]
    lines.append([":--", *["--:"] * (len(groups) + 1), ":--"])
    for row in regrets.rows:
        name = escape_markdown(row.method)
        picked = [[row.entries[i] for i in indices] for indices in groups.values()]
        texts = [mean_text(entries) if wide else _marked(entries[0]) for entries in picked]
        worst = escape_markdown(_worst(regrets, row))
        lines.append([f"**{name}**" if row.kind == "trained" else name, *texts, mean_text(row.entries), worst])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def map_to_html(regrets: RegretMap) -> str:
    """The map as an HTML element: every cell, its ground colored by the size of regret."""
    places = "".join(
        f'<th scope="col">{escape(cell.task)}<br>{escape(cell.condition)}</th>' for cell in regrets.columns
    )
    rows = []
    for row in regrets.rows:
        cells = "".join(map(_html_cell, row.entries))
        mean = f"<td{_ground(row.mean)}>{escape(mean_text(row.entries))}</td>"
        rows.append(
            f'<tr class="kind-{row.kind}"><th scope="row">{escape(row.method)}</th>{cells}{mean}'
            f"<td>{escape(_worst(regrets, row))}</td></tr>"
        )
    head = f'<tr><th scope="col">Method</th>{places}<th scope="col">Mean</th><th scope="col">Worst</th></tr>'
    return f'<table class="map">\n<thead>{head}</thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table>'


def place(cell: Cell) -> str:
    """A cell within the map of its budget: "digits, clean"."""
    return f"{cell.task}, {cell.condition}"


def summary_groups(regrets: RegretMap) -> dict[str, tuple[int, ...]]:
    """The columns of each condition, then those of each task; without conditions, or tasks, if there is only one."""
    groups: dict[str, tuple[int, ...]] = {}
    for title, names in (
        ("all tasks, {}", [cell.condition for cell in regrets.columns]),
        ("{}, all conditions", [cell.task for cell in regrets.columns]),
    ):
        if len(set(names)) > 1:
            for name in dict.fromkeys(names):
                groups[title.format(name)] = tuple(i for i, other in enumerate(names) if other == name)
    return groups


def mean_text(entries: Sequence[Entry | None]) -> str:
    """Mean regret in points: "+0.4", "+0.4 (n = 5)", "+0.4 (n = 5, 1 div.)", "div.", or a dash if nothing was run."""
    row = MapRow("", "single", tuple(entries))
    if not row.regrets:
        return DIVERGED if row.diverged else DASH
    count = [f"n = {len(row.regrets)}"] if len(row.regrets) < len(entries) else []
    notes = ", ".join([*count, *([f"{row.diverged} {DIVERGED}"] if row.diverged else [])])
    return signed(row.mean, 1) + (f" ({notes})" if notes else "")


def regret_color(regret: float) -> tuple[int, int, int, float]:
    """Red, green, blue and opacity: the denser the larger, another hue for less than 0; nothing at 0 and for NaN."""
    strength = math.log1p(abs(regret) / FINEST) / math.log1p(STRONGEST / FINEST)
    return (*(WORSE if regret > 0 else BETTER), OPACITY * min(1.0, strength) if strength > 0 else 0.0)


def _entry(line: Line | None) -> Entry | None:
    if line is None:
        return None
    if is_diverged(line):
        return Entry(math.nan)
    # Only the reference itself has no regret: that is 0 by its meaning.
    return Entry(0.0) if line.regret is None else Entry(line.regret.mean, line.regret.low > 0 or line.regret.high < 0)


def _text(entry: Entry | None) -> str:
    return mean_text((entry,))


def _marked(entry: Entry | None) -> str:
    return f"**{_text(entry)}**" if entry is not None and entry.clear else _text(entry)


def _html_cell(entry: Entry | None) -> str:
    text = escape(_text(entry))
    marked = f"<strong>{text}</strong>" if entry is not None and entry.clear else text
    return f"<td{_ground(math.nan if entry is None else entry.regret)}>{marked}</td>"


def _ground(regret: float) -> str:
    red, green, blue, opacity = regret_color(regret)
    return f' style="background: rgb({red} {green} {blue} / {opacity:.2f})"' if opacity > 0 else ""


def _worst(regrets: RegretMap, row: MapRow) -> str:
    """The highest regret and where it is."""
    return DASH if row.worst is None else f"{_text(row.entries[row.worst])} ({place(regrets.columns[row.worst])})"
