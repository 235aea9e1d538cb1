"""One cell of the arena as a table: for the console, for Markdown, for HTML, from one set of cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import get_args

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from rltemp.experiments.arena.outcome import Cell, CellOutcome, Kind, Line, Ruling
from rltemp.experiments.evaluation.statistics import Difference
from rltemp.experiments.report.sentences import signed
from rltemp.markdown import escape_markdown

__all__ = [
    "DASH",
    "KIND_NAMES",
    "TIMES",
    "ArenaCells",
    "cell_name",
    "cell_note",
    "cell_to_html",
    "cell_to_markdown",
    "cell_to_rich",
    "is_diverged",
    "to_arena_cells",
]

KIND_NAMES: dict[Kind, str] = {
    "bound": "Bounds",
    "reference": "Tuned on this task",
    "single": "One for all tasks",
    "rule": "Published rules",
    "preset": "Published methods",
    "trained": "Trained policies",
    "control": "Matched controls",
}
STYLES: dict[Ruling, str] = {
    "better": "green",
    "not better": "yellow",
    "worse": "red",
    "withheld": "yellow",
    "diverged": "red",
    "": "",
}
SHORT = {"Agreement, %": "Agree, %", "KL to teacher": "KL"}
"""For titles that a console has no room for."""

DASH, INFINITY, TIMES = "\N{EN DASH}", "\N{INFINITY}", "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class ArenaCells:
    """A table as text.

    Attributes:
        header: one text per column.
        lines: one tuple of texts per line, the first the method with its setting, the last the ruling alone.
        sources: the line each of them shows, in the order of `Kind`.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    sources: tuple[Line, ...]


def to_arena_cells(cell: CellOutcome) -> ArenaCells:
    """The texts of a cell's table."""
    bits = cell.measure == "bits"
    columns: dict[str, Callable[[Line], str]] = {
        "Method": _name,
        **({"Bits per character": _bits} if bits else {}),
        "Accuracy, %": lambda line: _estimate(line.accuracy, f"{100 * line.accuracy.mean:.2f}"),
        "Regret, 0.01 bit" if bits else "Regret, points": _regret,
        "NLL": lambda line: _nats(line.nll),
        "ECE, %": lambda line: _percent(line.calibration_error),
        "Agreement, %": lambda line: _percent(line.agreement),
        "KL to teacher": lambda line: _nats(line.divergence),
        "Passes": _passes,
        "Tuning runs": lambda line: f"{line.tuning_runs:,}",
        "Ruling": lambda line: line.ruling,
    }
    sources = tuple(sorted(cell.lines, key=lambda line: get_args(Kind).index(line.kind)))
    return ArenaCells(
        header=tuple(columns),
        lines=tuple(tuple(text(line) for text in columns.values()) for line in sources),
        sources=sources,
    )


def cell_to_rich(cell: CellOutcome) -> Group:
    """The table for a console of 120 columns, with the reasons of its rulings as footnotes."""
    cells = to_arena_cells(cell)
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for index, title in enumerate(cells.header):
        numeric = 0 < index < len(cells.header) - 1
        # A title of several words gives way before the numbers below it do.
        words = Text("\n".join(SHORT.get(title, title).split(" ")))
        table.add_column(words, justify="right" if numeric else "left", no_wrap=index > 0, overflow="fold")
    footnotes: dict[tuple[str, ...], int] = {}
    for kind, group in groupby(zip(cells.lines, cells.sources, strict=True), key=lambda pair: pair[1].kind):
        table.add_section()
        table.add_row(Text(KIND_NAMES[kind], style="dim"))
        for texts, line in group:
            number = footnotes.setdefault(line.reasons, len(footnotes) + 1) if line.reasons else 0
            name = Text(f"  {texts[0]}", style="bold" if kind == "trained" else "")
            last = Text(f"{texts[-1]} [{number}]".lstrip() if number else texts[-1], style=STYLES[line.ruling])
            table.add_row(name, *(Text(text) for text in texts[1:-1]), last)
    notes = [Text(f"[{number}] {'; '.join(reasons)}") for reasons, number in footnotes.items()]
    return Group(table, *notes)


def cell_to_markdown(cell: CellOutcome) -> str:
    """The table in GitHub's Markdown, with the reasons in full and a line end at its end."""
    cells = to_arena_cells(cell)
    ruler = [":--" if index in (0, len(cells.header) - 1) else "--:" for index in range(len(cells.header))]
    lines = [list(cells.header), ruler]
    for kind, group in groupby(zip(cells.lines, cells.sources, strict=True), key=lambda pair: pair[1].kind):
        lines.append([f"*{KIND_NAMES[kind]}*", *[""] * (len(cells.header) - 1)])
        for texts, line in group:
            name = escape_markdown(texts[0])
            ruling = escape_markdown(_ruling(line))
            lines.append([f"**{name}**" if kind == "trained" else name, *texts[1:-1], ruling])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell_to_html(cell: CellOutcome) -> str:
    """The table as an HTML element; classes `kind-*` and `ruling-*` are for the style sheet."""
    cells = to_arena_cells(cell)
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in cells.header)
    bodies = []
    for kind, group in groupby(zip(cells.lines, cells.sources, strict=True), key=lambda pair: pair[1].kind):
        title = f'<th scope="rowgroup">{KIND_NAMES[kind]}</th><td colspan="{len(cells.header) - 1}"></td>'
        rows = [f'<tr class="group">{title}</tr>']
        for texts, line in group:
            name = f'<th scope="row">{escape(texts[0])}</th>'
            numbers = "".join(f"<td>{escape(text)}</td>" for text in texts[1:-1])
            ruling = f'<td class="ruling ruling-{line.ruling.replace(" ", "-")}">{escape(_ruling(line))}</td>'
            rows.append(f'<tr class="kind-{kind}">{name}{numbers}{ruling}</tr>')
        bodies.append(f"<tbody>\n{chr(10).join(rows)}\n</tbody>")
    return f"<table>\n<thead><tr>{head}</tr></thead>\n{chr(10).join(bodies)}\n</table>"


def cell_name(cell: Cell) -> str:
    """What a cell is called: "digits, clean, ×4"."""
    return f"{cell.task}, {cell.condition}, {TIMES}{cell.budget}"


def cell_note(cell: CellOutcome) -> str:
    """What stands behind the numbers of a cell."""
    students = "1 student" if cell.students == 1 else f"{cell.students} paired students"
    return f"{cell.updates:,} updates per run, {students} behind every line. Recipe: {cell.recipe or DASH}"


def is_diverged(line: Line) -> bool:
    """Whether the line came to nothing: its numbers are not finite, or its ruling says so."""
    numbers = [line.accuracy.mean, line.nll, 0.0 if line.regret is None else line.regret.mean]
    return line.ruling == "diverged" or not all(math.isfinite(number) for number in numbers)


def _name(line: Line) -> str:
    return f"{line.method} ({line.setting})" if line.setting else line.method


def _ruling(line: Line) -> str:
    return ": ".join(text for text in (line.ruling, "; ".join(line.reasons)) if text)


def _bits(line: Line) -> str:
    if line.bits is None or not math.isfinite(line.bits.mean):
        return INFINITY
    half = (line.bits.high - line.bits.low) / 2
    return f"{line.bits.mean:.3f} ± {f'{half:.3f}' if math.isfinite(half) else INFINITY}"


def _regret(line: Line) -> str:
    return DASH if line.regret is None else _estimate(line.regret, signed(line.regret.mean))


def _estimate(estimate: Difference, mean: str) -> str:
    """A mean with half the width of its interval, which is infinite where one student is all there is."""
    if not math.isfinite(estimate.mean):
        return DASH
    half = 100 * (estimate.high - estimate.low) / 2
    return f"{mean} ± {f'{half:.2f}' if math.isfinite(half) else INFINITY}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if math.isfinite(share) else DASH


def _nats(value: float) -> str:
    if not math.isfinite(value):
        return INFINITY if value > 0 else DASH
    return f"{value:.3f}" if value < 1e3 else f"{value:.1e}"


def _passes(line: Line) -> str:
    if not line.passes:
        return DASH
    overhead = "<1" if line.overhead < 0.01 else f"{100 * line.overhead:.0f}"
    return f"{line.passes:,.0f} ({overhead} %)" if line.overhead > 0 else f"{line.passes:,.0f}"
