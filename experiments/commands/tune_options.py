"""`rltemp tune`: its options."""

from __future__ import annotations

import argparse

from rltemp.experiments.commands.arena_options import MOST_TRIALS
from rltemp.experiments.commands.engine_options import add_engine, check_engine, make_engine
from rltemp.experiments.commands.options import MOST_STUDENTS, Overrides, add_where, check, printed, read_setting

__all__ = ["add_tune_options", "run_tune_command"]


def add_tune_options(parser: argparse.ArgumentParser) -> None:
    """How long is searched."""
    parser.add_argument(
        "--trials", type=int, default=24, help="settings tried in each of three searches (default: %(default)s)"
    )
    parser.add_argument("--students", type=int, default=8, help="students per setting (default: %(default)s)")
    add_engine(parser)
    add_where(parser, "tune")


def run_tune_command(options: argparse.Namespace, overrides: Overrides) -> None:
    """Search, and say where the tuned recipe is."""
    from rltemp.experiments.commands.tune_command import tune

    setting = read_setting(options, overrides)
    check("--trials", options.trials, 2, MOST_TRIALS)
    check("--students", options.students, 1, MOST_STUDENTS)
    check_engine(options)
    if not printed(options, setting.recipe):
        engine = make_engine(options)
        print(f"recipe: {tune(setting, options.trials, options.students, options.runs, options.name, engine)}")
