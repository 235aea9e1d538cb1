"""The comparison as a table: for the console, for Markdown, for HTML, from one set of cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from rltemp.experiments.evaluation.comparison import Comparison, Row, Verdict
from rltemp.experiments.evaluation.measure import to_bits
from rltemp.experiments.evaluation.results import PolicyResult
from rltemp.experiments.evaluation.statistics import Difference
from rltemp.experiments.report.sentences import about_trouble, signed
from rltemp.markdown import escape_markdown

__all__ = ["Cells", "to_cells", "to_html", "to_markdown", "to_rich"]

STYLES: dict[Verdict, str] = {
    "better": "green",
    "worse": "red",
    "unclear": "yellow",
    "diverged": "red",
    "reference": "cyan",
    "": "",
}


DASH = "\N{EN DASH}"

SAID = ("Policy", "Verdict")
"""All that the table has of a policy whose students diverged: a mean over them means nothing."""


@dataclass(frozen=True)
class Cells:
    """A table as text.

    Attributes:
        header: one text per column.
        lines: one tuple of texts per row, the first the policy's label.
        rows: the row each line shows.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    rows: tuple[Row, ...]


def to_cells(comparison: Comparison, fidelity: bool = True) -> Cells:
    """The texts of the table, without the columns of a reference that was not evaluated.

    Args:
        comparison: what to show.
        fidelity: whether to show how far students follow the teacher, where that was measured.
    """
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("Policy", _name),
        ("Accuracy, %", lambda row: f"{100 * row.accuracy.mean:.2f} ± {100 * _half(row.accuracy):.2f}"),
        ("NLL", lambda row: f"{row.nll:.3f}" if row.nll < 1e3 else f"{row.nll:.1e}"),
        ("ECE, %", lambda row: f"{100 * row.calibration_error:.1f}"),
    ]
    if comparison.evaluation.setting.get("data", {}).get("context") is not None:
        columns.insert(1, ("Bits per character", lambda row: f"{to_bits(row.nll):.3f}"))
    if fidelity and not all(math.isnan(row.agreement) for row in comparison.rows):
        columns.append(("Agreement, %", lambda row: _measured(100 * row.agreement, ".1f")))
        columns.append(
            ("KL to teacher", lambda row: _measured(row.divergence, ".3f" if row.divergence < 1e3 else ".1e"))
        )
    if comparison.best_static is not None:
        columns.append((_versus(comparison.best_static), lambda row: _gap(row.versus_static)))
    if comparison.best_schedule is not None:
        columns.append((_versus(comparison.best_schedule), lambda row: _gap(row.versus_schedule)))
    columns.append(("Verdict", _verdict))
    return Cells(
        header=tuple(title for title, _ in columns),
        lines=tuple(
            tuple(text(row) if title in SAID or not row.diverged else DASH for title, text in columns)
            for row in comparison.rows
        ),
        rows=comparison.rows,
    )


def to_rich(comparison: Comparison) -> RichTable:
    """The table for a console, whose width does not hold how far students follow the teacher as well."""
    cells = to_cells(comparison, fidelity=False)
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for index, title in enumerate(cells.header):
        numeric = 0 < index < len(cells.header) - 1
        table.add_column(title, justify="right" if numeric else "left", no_wrap=index > 0)
    for line, row in zip(cells.lines, cells.rows, strict=True):
        name = Text(line[0], style="bold" if row.family == "trained" else "")
        last = Text(line[-1], style=STYLES[row.verdict])
        table.add_row(name, *(Text(text) for text in line[1:-1]), last)
    return table


def to_markdown(comparison: Comparison) -> str:
    """The table in GitHub's Markdown, with a line end at its end."""
    cells = to_cells(comparison)
    ruler = [":--" if index in (0, len(cells.header) - 1) else "--:" for index in range(len(cells.header))]
    lines = [[escape_markdown(title) for title in cells.header], ruler]
    for line, row in zip(cells.lines, cells.rows, strict=True):
        name = escape_markdown(line[0])
        lines.append([f"**{name}**" if row.family == "trained" else name, *line[1:]])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_html(comparison: Comparison) -> str:
    """The table as an HTML element; classes `family-*` and `verdict-*` are for the style sheet."""
    cells = to_cells(comparison)
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in cells.header)
    body = []
    for line, row in zip(cells.lines, cells.rows, strict=True):
        name = f'<th scope="row">{escape(line[0])}</th>'
        numbers = "".join(f"<td>{escape(text)}</td>" for text in line[1:-1])
        last = f'<td class="verdict-{row.verdict}">{escape(line[-1])}</td>'
        body.append(f'<tr class="family-{row.family}">{name}{numbers}{last}</tr>')
        if trouble := about_trouble(row, comparison.best_static):
            # The text stays in view while the numbers scroll.
            body.append(f'<tr><td class="trouble" colspan="{len(line)}"><p>{escape(trouble)}</p></td></tr>')
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(body)}\n</tbody>\n</table>"


def _name(row: Row) -> str:
    return row.label if len(row.members) == 1 else f"{row.label} ({len(row.members)} trainings)"


def _verdict(row: Row) -> str:
    return f"diverged ({row.diverged} of {row.students})" if row.diverged else row.verdict


def _measured(value: float, style: str) -> str:
    return DASH if math.isnan(value) else format(value, style)


def _versus(reference: PolicyResult) -> str:
    return f"vs {reference.label}"


def _half(interval: Difference) -> float:
    return (interval.high - interval.low) / 2


def _gap(difference: Difference | None) -> str:
    return DASH if difference is None else f"{signed(difference.mean)} ± {100 * _half(difference):.2f}"
