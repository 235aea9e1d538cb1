"""Temperatures plugged into the seven frameworks that RLKD was: is any better there than references tuned as long?

    uv run python -m rltemp.experiments.studies.plugins fashion --data DATA
    uv run python -m rltemp.experiments.studies.plugins cifar100-16 --data DATA [--set optimization.epochs=1]

A framework is a condition of the arena, and its row a cell: learning rate, weight of the labels and weight of the
objective on features are searched at T = 4 on validation data and frozen, then references and rules are searched, and
all are measured on the same paired students. The table goes into its place in docs/plugins.md after every framework
that is finished; what is finished is kept in --runs, so that an interrupted study goes on where it stopped.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rltemp.display import progress
from rltemp.errors import InputError
from rltemp.experiments.arena.estimate import estimate_seconds
from rltemp.experiments.arena.outcome import CellOutcome, Line
from rltemp.experiments.arena.run import all_work, run_arena, weight
from rltemp.experiments.arena.selection import Selection, check_cells, find_tasks
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.work import Work
from rltemp.experiments.engines import Here, Leave
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.report.arena_tables import DASH
from rltemp.experiments.report.sentences import above
from rltemp.experiments.studies.rlkd_page import insert, machine
from rltemp.recipes import change_recipe

FRAMEWORKS = {"KD": "clean", "DKD": "dkd", "PKT": "pkt", "SP": "sp", "VID": "vid", "CRD": "crd", "SRRL": "srrl"}
"""Conditions of the arena, by the names of their papers."""
METHODS = ("ctkd", "dtkd", "normkd", "lskd", "rlkd")
TRAINED = ("rltemp/general", "rltemp/general-kd", "rltemp/digits-logits")
REFERENCES = ("static, tuned", "schedule, tuned")
USUAL = "T = 4, T²"
NONE = "labels alone"
COLUMNS = {
    NONE: "no distillation",
    USUAL: "T = 4",
    **{f"{name}, tuned": name.upper() if name != "normkd" else "NormKD" for name in METHODS},
    "rltemp/general (batch)": "`general`",
    "rltemp/general-kd (batch)": "`general-kd`",
    "rltemp/digits-logits (logits)": "`digits-logits`",
}
"""Methods of a cell beside its references, and what the table calls them."""


def table(cells: Sequence[tuple[str, CellOutcome]]) -> str:
    """A row per framework: its references' accuracies, and what all others are above the better of them, in points."""
    heads = ["", "teacher", "static, tuned", "schedule, tuned", *COLUMNS.values()]
    rows = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, cell in cells:
        lines = [cell.line("the teacher"), *(cell.line(reference) for reference in REFERENCES)]
        accuracies = [DASH if line is None else f"{100 * line.accuracy.mean:.1f}" for line in lines]
        rows.append(f"| {' | '.join([name, *accuracies, *(_told(cell.line(column)) for column in COLUMNS)])} |")
    return "\n".join(rows)


def settings(cells: Sequence[tuple[str, CellOutcome]]) -> str:
    """What the searches settled on, a row per framework."""
    rows = ["| | searched at T = 4 | static | schedule |", f"|{'---|' * 4}"]
    for name, cell in cells:
        found = [line.setting if line else DASH for line in (cell.line(reference) for reference in REFERENCES)]
        rows.append(f"| {' | '.join([name, cell.recipe, *found])} |")
    return "\n".join(rows)


def _told(line: Line | None) -> str:
    if line is None:
        return DASH
    if line.regret is None:
        return "the best"
    return f"{above(line.regret)} {line.ruling}".rstrip()


def _selection(options: argparse.Namespace, condition: str, changes: dict[str, Any]) -> Selection:
    tasks = find_tasks([options.task], options.data, allow_download=False, allow_code=False)
    changed = {
        name: dataclasses.replace(setting, recipe=change_recipe(setting.recipe, changes))
        for name, setting in tasks.items()
    }
    selection = Selection(
        tasks=changed,
        conditions=(condition,),
        budgets=(1,),
        methods=METHODS,
        trained=tuple(trained_policy(path) for path in TRAINED),
        students=options.students,
        trials=options.trials,
        tuning_students=options.tuning_students,
        asked=8,
    )
    check_cells(selection)
    return selection


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set must read NAME=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main() -> None:
    """Do what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("task", nargs="?", default="fashion", help="task of the arena (default: %(default)s)")
    parser.add_argument("--data", default="data", help="folder of the arena's data (default: %(default)s)")
    parser.add_argument("--frameworks", nargs="+", default=list(FRAMEWORKS), choices=FRAMEWORKS)
    parser.add_argument("--students", type=int, default=8, help="paired students (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=20, help="settings per reference (default: %(default)s)")
    parser.add_argument("--tuning-students", type=int, default=8, help="per setting (default: %(default)s)")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other values of the recipe")
    parser.add_argument("--runs", default="runs", help="folder of what is finished (default: %(default)s)")
    parser.add_argument("--page", default="docs/plugins.md", help="page with the tables (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say how much work it is")
    options = parser.parse_args()
    # CRD's contrast with the paper's 16,384 images costs more than all else together.
    changes = {"optimization.negatives": 64, **dict(map(_change, options.set))}
    selections = {name: _selection(options, FRAMEWORKS[name], changes) for name in options.frameworks}
    store = ResultStore(Path(options.runs, "plugins", options.task))
    works = {name: all_work(selection, store) for name, selection in selections.items()}
    if options.dry_run:
        _estimate(selections, works, store)
        return
    cells: list[tuple[str, CellOutcome]] = []
    with (
        store.alone(),
        progress(options.task, sum(weight(work) for each in works.values() for work in each)) as display,
    ):
        for name, selection in selections.items():
            (cell,) = run_arena(selection, options.runs, store, Here(), display, Leave())
            cells.append((name, cell))
            _write(options, cells)


def _estimate(selections: dict[str, Selection], works: dict[str, list[Work]], store: ResultStore) -> None:
    left = {name: [work for work in works[name] if store.find(work.key) is None] for name in selections}
    for name, mine in left.items():
        runs, updates = sum(work.runs for work in mine), sum(work.updates for work in mine)
        print(f"{name}: {runs} student runs, {updates} updates left")
    # Frameworks are conditions of one task.
    task = next(iter(selections.values()))
    minutes = estimate_seconds(task, [work for mine in left.values() for work in mine], Leave()) / 60
    print(f"about {minutes:.0f} min and more beside features")


def _write(options: argparse.Namespace, cells: Sequence[tuple[str, CellOutcome]]) -> None:
    updates, students = cells[0][1].updates, cells[0][1].students
    caption = (
        f"{students} paired students of {updates} updates; {options.trials} settings on {options.tuning_students} "
        f"students per search, a third as many settings for rules and agent. {machine()}."
    )
    insert(Path(options.page), f"{options.task} plugins", f"{table(cells)}\n\n{caption}")
    insert(Path(options.page), f"{options.task} settings", settings(cells))


if __name__ == "__main__":
    main()
