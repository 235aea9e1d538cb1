"""The arena's report: one HTML file without scripts or requests, and the same as Markdown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html import escape

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import ArenaOutcome, CellOutcome, Kind
from rltemp.experiments.report.arena_sentences import arena_budgets, arena_headlines
from rltemp.experiments.report.arena_tables import TIMES, cell_name, cell_note, cell_to_html, cell_to_markdown
from rltemp.experiments.report.document import to_document, to_figure
from rltemp.experiments.report.regret_curves import MOST_CURVES, conditions_with_curves, plot_regret_curves
from rltemp.experiments.report.regret_map import MAP_NOTE, make_map, map_to_html, map_to_markdown
from rltemp.experiments.report.style import ARENA_STYLE
from rltemp.files import atomic_write
from rltemp.markdown import escape_markdown

__all__ = ["arena_markdown", "choose_curves", "write_arena_report"]

TITLE = "Temperature policies over tasks, conditions and lengths"

CURVES_CAPTION = (
    "Points of test accuracy below the reference tuned on that task at that length, with 95 % intervals; the dashed "
    "line is that reference. Shown are the settings that are one for all tasks, the published rule with the lowest "
    f"mean, and trained policies from the lowest mean on, {MOST_CURVES} in all at most."
)

MEANINGS = {
    "Kinds": "What is tuned on this task is the yardstick; one for all tasks is a setting that is the same everywhere; "
    "published rules have their options tuned; matched controls do what a trained policy does without what it knows.",
    "Regret": "Test accuracy of the reference tuned on this very task less the method's, in percentage points, on the "
    "same students, ± half the width of its 95 % interval. 0 is as good, + is worse. Texts are judged in bits per "
    "character, and a point is a hundredth of a bit.",
    "Accuracy": "Share of test examples whose label is the student's first choice, after the last update.",
    "NLL": "Mean cross-entropy with the label on the test examples, in nats. Lower is better.",
    "ECE": "Expected calibration error: the mean gap between how sure the student is and how often it is right.",
    "Agreement": "Share of test examples where student and teacher have the same first choice.",
    "KL to teacher": "KL divergence of the student from the teacher on the test examples, in nats.",
    "Passes": "Instances that pass through the student in one direction, or through the teacher, per update; in "
    "brackets the share of them that a static temperature would not make.",
    "Tuning runs": "Runs of a student on this task's data that the method's options, or its training, took.",
    "Ruling": "“better” only if it is better than every matched control; “withheld” where the comparison would not be "
    "fair. Empty where none is asked.",
}


def write_arena_report(path: str | os.PathLike[str], outcome: ArenaOutcome) -> None:
    """Write the report of an arena to `path`, in one step.

    The same outcome gives the same file, byte for byte.

    Args:
        path: the HTML file, in an existing folder.
        outcome: what was found, with at least one cell.
    """
    _check(outcome)
    headlines = "\n".join(f"<p>{_with_names(sentence)}</p>" for sentence in arena_headlines(outcome))
    maps = "\n".join(
        f"<h3>{TIMES}{budget}</h3>\n{_scroll(map_to_html(make_map(outcome, budget)), f'Regret at {TIMES}{budget}')}"
        for budget in arena_budgets(outcome)
    )
    cells = "\n".join(_details(cell) for cell in outcome.cells)
    meanings = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in MEANINGS.items())
    machine = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in outcome.machine.items())
    body = f"""<div class="headline">
{headlines}
</div>
<h2>Regret</h2>
{maps}
<p class="note">{escape(MAP_NOTE)}</p>
{_curves(outcome)}<h2>Every cell</h2>
{cells}
<h2>What the numbers mean</h2>
<dl>{meanings}</dl>
<h2>Reproduce</h2>
<pre class="command">{escape(outcome.command)}</pre>
<details open><summary>Machine and versions</summary><dl>{machine}</dl></details>"""
    atomic_write(path, to_document(TITLE, _kicker(outcome), body, ARENA_STYLE))


def arena_markdown(outcome: ArenaOutcome) -> str:
    """The report's content as Markdown, with a line end at its end: sentences, a map per budget, a table per cell."""
    _check(outcome)
    return "\n".join(_paragraphs(outcome))


def choose_curves(outcome: ArenaOutcome) -> tuple[str, ...]:
    """A handful of methods worth a curve: single settings, then the best rule and trained policies by mean regret."""
    means: dict[Kind, dict[str, list[float]]] = {}
    for budget in arena_budgets(outcome):
        for row in make_map(outcome, budget).rows:
            if row.kind != "reference" and row.regrets:
                means.setdefault(row.kind, {}).setdefault(row.method, []).append(row.mean)
    best = {
        kind: sorted(found, key=lambda method: sum(found[method]) / len(found[method])) for kind, found in means.items()
    }
    chosen = [*best.get("single", []), *best.get("rule", [])[:1], *best.get("trained", [])]
    return tuple(chosen[:MOST_CURVES])


def _check(outcome: ArenaOutcome) -> None:
    if not outcome.cells:
        raise InputError("outcome must hold at least one cell, got none")


def _kicker(outcome: ArenaOutcome) -> str:
    tasks = {cell.cell.task for cell in outcome.cells}
    conditions = {cell.cell.condition for cell in outcome.cells}
    counts = ((len(outcome.cells), "cell"), (len(tasks), "task"), (len(conditions), "condition"))
    return "rltemp · knowledge distillation, " + ", ".join(f"{n} {name}{'s' * (n != 1)}" for n, name in counts)


def _with_names(sentence: str) -> str:
    """A sentence as HTML; the methods that it names stand out, by which a reader finds one."""
    return re.sub("“([^”]+)”", r"“<strong>\1</strong>”", escape(sentence))


def _scroll(table: str, label: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">\n{table}\n</div>'


def _details(cell: CellOutcome) -> str:
    name = cell_name(cell.cell)
    return (
        f"<details><summary>{escape(name)}</summary>\n{_scroll(cell_to_html(cell), name)}\n"
        f'<p class="note">{escape(cell_note(cell))}</p></details>'
    )


def _curves(outcome: ArenaOutcome) -> str:
    """Regret over length, a figure per condition, if there is more than one length and anything to draw."""
    methods = choose_curves(outcome)
    if len(arena_budgets(outcome)) < 2 or not methods:
        return ""
    figures = "\n".join(
        to_figure(
            f"curves-{number}",
            plot_regret_curves(outcome, methods, (condition,)),
            f"Regret over length: {condition}",
            CURVES_CAPTION,
        )
        for number, condition in enumerate(conditions_with_curves(outcome, methods), start=1)
    )
    return f'<h2>Regret over the length of training</h2>\n<div class="figures">\n{figures}\n</div>\n'


def _paragraphs(outcome: ArenaOutcome) -> Iterator[str]:
    """Blocks of Markdown, each with a line end at its end."""
    yield "".join(f"- {escape_markdown(sentence)}\n" for sentence in arena_headlines(outcome))
    for budget in arena_budgets(outcome):
        yield f"## Regret, {TIMES}{budget}\n\n{map_to_markdown(make_map(outcome, budget))}"
    yield f"{escape_markdown(MAP_NOTE)}\n"
    for cell in outcome.cells:
        note = escape_markdown(cell_note(cell))
        yield f"## {escape_markdown(cell_name(cell.cell))}\n\n{note}\n\n{cell_to_markdown(cell)}"
    meanings = "".join(f"- {escape_markdown(term)}: {escape_markdown(text)}\n" for term, text in MEANINGS.items())
    yield f"## What the numbers mean\n\n{meanings}"
