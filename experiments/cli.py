"""The command line: `rltemp COMMAND ...`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from rltemp.errors import InputError
from rltemp.experiments.commands import table as commands
from rltemp.experiments.commands.options import add_leave
from rltemp.experiments.launch import PEER_LOST, check_launch, lost_a_peer, speaks
from rltemp.experiments.termination import Terminated, gentle_termination

__all__ = ["BASE", "main"]

BASE = (
    "filelock",
    "gymnasium",
    "matplotlib",
    "numpy",
    "optuna",
    "PIL",
    "yaml",
    "rich",
    "safetensors",
    "sklearn",
    "scipy",
    "stable_baselines3",
    "tensorboard",
    "torch",
    "torchvision",
)
"""Modules of the packages that come with rltemp, unless it was installed with `--no-deps`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, 2 for a user's mistake or a file system that refuses (one line on standard error), 1 for a
        run that lost one of its processes (likewise), 130 after Ctrl-C, 143 after SIGTERM.
    """
    # torch announces at the first forward-mode derivative that it will rewrite its own internals.
    warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
    try:
        with gentle_termination():
            _run(sys.argv[1:] if arguments is None else arguments)
    except InputError as error:
        return _refuse(str(error)) if speaks(error) else 2
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in BASE:
            raise
        return _refuse(f"{missing} must be installed for this command, and is not: pip install rltemp")
    except OSError as error:
        # Those of files, and no others, say which one.
        if error.filename is None:
            raise
        return _refuse(f"{os.fsdecode(error.filename)}: {error.strerror}")
    except RuntimeError as error:
        if not lost_a_peer(error):
            raise
        print(f"rltemp: {PEER_LOST}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        if terminated or speaks(interrupt):
            print("rltemp: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 143 if terminated else 130
    return 0


def _run(arguments: Sequence[str]) -> None:
    for word in arguments:
        # Bytes that are no UTF-8 come as surrogates.
        if re.search("[\0\ud800-\udfff]", word):
            raise InputError(f"arguments must be UTF-8 without NUL, got {word!r}")
    options, rest = _parser().parse_known_args(arguments)
    check_launch(options.command, options.shares)
    overrides = _overrides(rest)
    if overrides and not options.takes_recipe:
        raise InputError(f"{options.command} takes no values of a recipe, got --{next(iter(overrides))}")
    options.run(options, overrides)


def _refuse(message: str) -> int:
    print(f"rltemp: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


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


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
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
            add_leave(subparser)
        command.add_options(subparser)
        subparser.set_defaults(run=command.run, takes_recipe=command.takes_recipe, shares=command.shares)
    return parser
