"""What long work tells whoever watches it."""

from typing import Protocol

__all__ = ["NoProgress", "Progress"]


class Progress(Protocol):
    """A display that long work reports to; the work knows nothing of terminals."""

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more units of work as done."""

    def describe(self, text: str) -> None:
        """Say what is being done now."""


class NoProgress:
    """The display that shows nothing."""

    def advance(self, steps: int = 1) -> None:
        """Do nothing."""

    def describe(self, text: str) -> None:
        """Do nothing."""
