"""`rltemp arena`: policies judged over tasks, conditions and lengths."""

from __future__ import annotations

from pathlib import Path

from rltemp.experiments.arena.estimate import estimate_seconds
from rltemp.experiments.arena.outcome import ArenaOutcome
from rltemp.experiments.arena.run import all_work, run_alone
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.console import output
from rltemp.experiments.engines import Engine, Leave
from rltemp.experiments.machine import describe_machine
from rltemp.experiments.report.arena_csv import arena_csv
from rltemp.experiments.report.arena_page import arena_markdown, choose_curves, write_arena_report
from rltemp.experiments.report.arena_sentences import arena_budgets, arena_headlines
from rltemp.experiments.report.arena_tables import cell_to_rich
from rltemp.experiments.report.figure import to_svg
from rltemp.experiments.report.regret_curves import plot_regret_curves
from rltemp.experiments.report.regret_figure import plot_regret_map
from rltemp.experiments.report.regret_map import make_map
from rltemp.files import atomic_write

__all__ = ["arena", "dry_run"]

_SHOWN = 4
"""Cells whose tables are printed; more are for the report."""


def arena(selection: Selection, root: str, engine: Engine, command: str, leave: Leave) -> Path:
    """Do what is not done yet in `<root>/arena/`, and write report.html, arena.md, arena.csv and figures there.

    Args:
        selection: what is compared, and where.
        root: folder of all runs.
        engine: does the work.
        command: the command line that makes this again.
        leave: what recipes may do.

    Returns:
        The HTML report.
    """
    folder = Path(root, "arena")
    store = ResultStore(folder / "work")
    cells = run_alone(selection, root, store, engine, leave)
    outcome = ArenaOutcome(tuple(cells), describe_machine(), command)
    _print(outcome)
    return _write(outcome, folder, selection.conditions[0])


def _print(outcome: ArenaOutcome) -> None:
    console = output()
    if len(outcome.cells) <= _SHOWN:
        for cell in outcome.cells:
            console.print(cell_to_rich(cell))
    for sentence in arena_headlines(outcome):
        console.print(sentence, markup=False, emoji=False)


def _write(outcome: ArenaOutcome, folder: Path, condition: str) -> Path:
    """The report, whose path is returned, and its parts; curves are of one condition."""
    budgets = arena_budgets(outcome)
    atomic_write(folder / "arena.md", arena_markdown(outcome))
    atomic_write(folder / "arena.csv", arena_csv(outcome))
    for budget in budgets:
        atomic_write(folder / f"map-{budget}.svg", to_svg(plot_regret_map(make_map(outcome, budget))))
    if len(budgets) > 1:
        curves = plot_regret_curves(outcome, choose_curves(outcome), (condition,))
        atomic_write(folder / "curves.svg", to_svg(curves))
    report = folder / "report.html"
    write_arena_report(report, outcome)
    return report


def dry_run(selection: Selection, root: str, processes: int, leave: Leave) -> None:
    """Print how much work there is, how much of it is done, and about how long the rest takes."""
    store = ResultStore(Path(root, "arena", "work"))
    works = all_work(selection, store)
    left = [work for work in works if store.find(work.key) is None]
    minutes = estimate_seconds(selection, left, leave) / processes / 60
    print(
        f"{len(selection.cells)} cells, {len(works)} pieces of work, of which {len(left)} are left to do\n"
        f"{sum(work.runs for work in left)} student runs, {sum(work.updates for work in left)} updates of a student\n"
        f"about {minutes:.0f} min with {processes} side by side on machines like this"
    )
