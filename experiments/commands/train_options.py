"""`rltemp train`: its options."""

from __future__ import annotations

import argparse

from rltemp.experiments.commands.options import Overrides, add_where, printed, read_setting

__all__ = ["add_train_options", "run_train_command"]


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Where it is kept, or whether only to say what it takes."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say how much memory and time it takes, and do nothing; data may be missing",
    )
    add_where(parser, "train")


def run_train_command(options: argparse.Namespace, overrides: Overrides) -> None:
    """Train, or say what it takes."""
    from rltemp.experiments.commands.train_command import dry_run, train
    from rltemp.experiments.launch import joined

    setting = read_setting(options, overrides, files=not options.dry_run)
    if printed(options, setting.recipe):
        return
    if options.dry_run:
        print(dry_run(setting))
        return
    with joined(setting.recipe.execution.device) as ranks:
        path = train(setting, options.runs, options.name, ranks=ranks)
        if ranks.is_first:
            print(f"policy: {path}")
