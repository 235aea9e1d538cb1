"""`rltemp arena`: its options."""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rltemp.errors import InputError, short
from rltemp.experiments.commands.engine_options import add_engine, check_engine, make_engine
from rltemp.experiments.commands.options import MOST_STUDENTS, Overrides, add_leave, add_runs, check

if TYPE_CHECKING:
    from rltemp.experiments.arena.selection import Selection
    from rltemp.experiments.evaluation.specs import PolicySpec

__all__ = ["MOST_TRIALS", "STUDENTS", "TRIALS", "TUNING_STUDENTS", "add_arena_options", "run_arena_command"]

MOST_TRIALS = 10_000
STUDENTS, TRIALS = 32, 20
TUNING_STUDENTS, _LEAST_TRIALS, _LONGEST = 20, 3, 1000


def add_arena_options(parser: argparse.ArgumentParser) -> None:
    """What is compared, and where."""
    parser.add_argument(
        "tasks", nargs="*", metavar="TASK", help="tasks of the suite, recipes or recipe files (default: what is there)"
    )
    parser.add_argument(
        "--conditions",
        default="clean",
        metavar="LIST",
        help="what is wrong with each task: clean, noise15, noise30, noise60, weak-teacher, missing-classes, junk, "
        "few, small, other-corpus of texts; or what its loss is: dkd, pkt, sp, vid, crd, srrl (default: %(default)s)",
    )
    parser.add_argument(
        "--budgets", default="1,3", metavar="LIST", help="multiples of each task's updates (default: %(default)s)"
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="POLICY",
        help="a trained policy's folder, or the name of one that comes with rltemp; may be given several times "
        "(default: all that come with rltemp); rules stand in --methods, which tunes them",
    )
    parser.add_argument(
        "--trainings", action="append", default=[], metavar="NAME=GLOB", help="trainings of one method, judged as one"
    )
    parser.add_argument(
        "--methods",
        default="all",
        metavar="LIST",
        help="rules and published methods, such as spread,ctkd,preset(dkd), or none: less to wait for; the agent rlkd, "
        "slow, is there only if it is named (default: %(default)s)",
    )
    parser.add_argument(
        "--data", default="data", help="folder of the suite's data, a folder each (default: %(default)s)"
    )
    parser.add_argument(
        "--students",
        type=int,
        default=STUDENTS,
        help="paired students per method, and, at most 20, per setting of a search (default: %(default)s)",
    )
    parser.add_argument(
        "--trials",
        type=int,
        default=TRIALS,
        help="settings tried per reference, a third as many per rule (default: %(default)s)",
    )
    add_engine(parser, processes=2)
    parser.add_argument("--dry-run", action="store_true", help="say how much work it is, and do nothing")
    add_leave(parser)
    add_runs(parser)


def run_arena_command(options: argparse.Namespace, overrides: Overrides) -> None:
    """Run it, or say how much work it is."""
    from rltemp.experiments.commands.arena_command import arena, dry_run
    from rltemp.experiments.engines import Leave

    check("--students", options.students, 2, MOST_STUDENTS)
    check("--trials", options.trials, _LEAST_TRIALS, MOST_TRIALS)
    check_engine(options)
    selection = _selection(options)
    leave = Leave(options.allow_download, options.allow_code)
    if options.dry_run:
        usual = 1 if options.engine == "ray" else options.usual_processes
        dry_run(selection, options.runs, options.processes or usual, leave)
        return
    words = ["rltemp", "arena", *options.tasks, "--conditions", options.conditions, "--budgets", options.budgets]
    words += ["--methods", options.methods]
    words += [word for path in options.policy for word in ("--policy", path)]
    words += [word for text in options.trainings for word in ("--trainings", text)]
    words += ["--data", options.data, "--students", str(options.students), "--trials", str(options.trials)]
    words += ["--allow-download"] * options.allow_download + ["--allow-code"] * options.allow_code
    print(f"report: {arena(selection, options.runs, make_engine(options), shlex.join(words), leave)}")


def _selection(options: argparse.Namespace) -> Selection:
    from rltemp.experiments.arena.conditions import CONDITIONS
    from rltemp.experiments.arena.selection import Selection, check_cells, find_tasks
    from rltemp.experiments.evaluation.specs import is_rule, trained_policy
    from rltemp.experiments.evaluation.trainings import check_names, parse_trainings
    from rltemp.pretrained import list_pretrained

    conditions = _listed("--conditions", options.conditions)
    if unknown := [condition for condition in conditions if condition not in CONDITIONS]:
        raise InputError(f"--conditions must be of {', '.join(CONDITIONS)}, got {unknown[0]!r}")
    if rules := [text for text in options.policy if is_rule(text)]:
        raise InputError(f"--policy must be a trained policy, got the rule {short(rules[0])}, which is for --methods")
    given = options.policy or ([] if options.trainings else list_pretrained())
    trained = [trained_policy(path) for path in given]
    trained += [spec for text in options.trainings for spec in parse_trainings(text)]
    check_names(trained)
    selection = Selection(
        tasks=find_tasks(
            options.tasks, options.data, allow_download=options.allow_download, allow_code=options.allow_code
        ),
        conditions=conditions,
        budgets=_budgets(options.budgets),
        methods=_methods(options.methods),
        trained=_told_apart(trained),
        students=options.students,
        trials=options.trials,
        tuning_students=min(TUNING_STUDENTS, options.students),
    )
    check_cells(selection)
    return selection


def _told_apart(specs: Sequence[PolicySpec]) -> tuple[PolicySpec, ...]:
    """The policies; those that share what a table would call them are called by their paths."""
    labels = Counter(spec.label for spec in specs)
    return tuple(spec if labels[spec.label] == 1 else replace(spec, label=spec.name) for spec in specs)


def _methods(text: str) -> tuple[str, ...]:
    from rltemp.experiments.arena.plan import AGENTS, METHODS

    if text in ("all", "none"):
        return METHODS if text == "all" else ()
    methods = _listed("--methods", text)
    if unknown := [name for name in methods if name not in (*METHODS, *AGENTS)]:
        known = ", ".join((*METHODS, *AGENTS))
        raise InputError(f"--methods must be all, none, or of {known}, got {short(unknown[0])}")
    return methods


def _listed(option: str, text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts) or len(set(parts)) < len(parts):
        raise InputError(f"{option} must list each value once, with commas between, got {text!r}")
    return parts


def _budgets(text: str) -> tuple[int, ...]:
    parts = _listed("--budgets", text)
    budgets = {str(budget): budget for budget in range(1, _LONGEST + 1)}
    if not all(part in budgets for part in parts):
        raise InputError(f"--budgets must be whole numbers in [1, {_LONGEST}], got {short(text)}")
    return tuple(budgets[part] for part in parts)
