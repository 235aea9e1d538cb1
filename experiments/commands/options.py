"""Options that several commands have, and what they read from them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rltemp.errors import InputError

if TYPE_CHECKING:
    from rltemp.experiments.named_recipe import NamedRecipe

__all__ = [
    "MOST_STUDENTS",
    "POLICY_HELP",
    "Overrides",
    "add_leave",
    "add_runs",
    "add_where",
    "check",
    "printed",
    "read_setting",
]

MOST_STUDENTS = 1 << 16

POLICY_HELP = (
    "a trained policy's folder, the name of one that comes with rltemp, a rule such as 'dtkd' or "
    "'static(temperature=4)', a paper's whole method such as 'preset(dtkd)', or 'no-kd' for the labels alone"
)

Overrides = dict[str, Any]


def add_where(parser: argparse.ArgumentParser, name: str) -> None:
    """The folder of all runs, and the name of this one."""
    add_runs(parser)
    parser.add_argument("--name", default=name, help="name of this run (default: %(default)s)")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """The folder of all runs."""
    parser.add_argument("--runs", type=_folder, default="runs", help="folder of all runs (default: %(default)s)")


def add_leave(parser: argparse.ArgumentParser) -> None:
    """What a recipe may do only if it is allowed here."""
    parser.add_argument(
        "--allow-download", action="store_true", help="let the recipe fetch data and networks from the network"
    )
    parser.add_argument(
        "--allow-code", action="store_true", help="let the recipe import modules of its data and networks"
    )


def _folder(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, got nothing")
    return text


def check(option: str, value: int, least: int, most: int | None = None) -> None:
    """Refuse a number out of [least, most]; None is no limit."""
    if value < least or (most is not None and value > most):
        wanted = f">= {least}" if most is None or value < least else f"<= {most}"
        raise InputError(f"{option} must be {wanted}, got {value}")


def read_setting(options: argparse.Namespace, overrides: Overrides, *, files: bool = True) -> NamedRecipe:
    """The recipe of a command that takes one, checked; without `files`, data and checkpoints may be missing."""
    from rltemp.experiments.named_recipe import read

    leave = {"allow_download": options.allow_download, "allow_code": options.allow_code}
    return read(options.recipe, overrides, files=files, **leave)


def printed(options: argparse.Namespace, recipe: Any) -> bool:
    """Whether the recipe was asked for, and is now printed."""
    from rltemp.recipes import dump_recipe

    if options.print_config:
        print(dump_recipe(recipe), end="")
    return bool(options.print_config)
