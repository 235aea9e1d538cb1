"""The interface through which long work reports its progress."""

from typing import Protocol

__all__ = ["NoProgress", "Progress"]


class Progress(Protocol):
    """A display of progress, such as a progress bar, that long work reports to."""

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more units of work as done."""

    def describe(self, text: str) -> None:
        """Show `text` as the current activity."""


class NoProgress:
    """A `Progress` that shows nothing."""

    def advance(self, steps: int = 1) -> None:
        """Ignore the completed steps."""

    def describe(self, text: str) -> None:
        """Ignore the text."""
