"""The command line: `rltemp COMMAND ...`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from rltemp.errors import InputError
from rltemp.experiments.commands import table as commands

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, 2 for a user's mistake (one line on standard error), 130 after Ctrl-C.
    """
    # torch announces at the first forward-mode derivative that it will rewrite its own internals.
    warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
    options, rest = _parser().parse_known_args(arguments)
    try:
        overrides = _overrides(rest)
        if overrides and not options.takes_recipe:
            raise InputError(f"{options.command} takes no values of a recipe, got --{next(iter(overrides))}")
        options.run(options, overrides)
    except InputError as error:
        print(f"rltemp: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rltemp: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


def _overrides(rest: Sequence[str]) -> dict[str, Any]:
    """Values of the recipe out of `--name value` and `--name=value`, read as YAML."""
    from rltemp.recipes.plain_yaml import load_plain

    overrides: dict[str, Any] = {}
    words = iter(rest)
    for word in words:
        if not word.startswith("--") or word == "--":
            raise InputError(f"unexpected argument {word!r}")
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            value = next(words, "")
            if not value:
                raise InputError(f"--{name} needs a value")
        overrides[name.replace("-", "_")] = load_plain(value, f"--{name}")
    return overrides


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rltemp", description="A reinforcement-learning agent sets the temperature of knowledge distillation."
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands.COMMANDS:
        epilog = commands.RECIPE_HELP if command.takes_recipe else None
        subparser = subparsers.add_parser(
            command.name, help=command.summary, description=command.summary, epilog=epilog, allow_abbrev=False
        )
        if command.takes_recipe:
            subparser.add_argument("recipe", help="name of a recipe that comes with rltemp, or a .yaml file")
            subparser.add_argument("--print-config", action="store_true", help="show the whole recipe, and do nothing")
            subparser.add_argument(
                "--allow-download", action="store_true", help="let the recipe fetch data and networks from the network"
            )
        command.add_options(subparser)
        subparser.set_defaults(run=command.run, takes_recipe=command.takes_recipe)
    return parser
