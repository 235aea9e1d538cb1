"""Where the results go that a command prints."""

from __future__ import annotations

from rich.console import Console

__all__ = ["output"]

PLAIN_WIDTH = 120


def output() -> Console:
    """The console for results, on standard output; wide enough for the tables where there is no terminal to ask."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
