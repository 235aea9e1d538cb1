"""The exceptions a user's mistake raises, and what their one line says of others' words."""

__all__ = ["DivergenceError", "InputError", "first_line", "short"]

_LONGEST = 80


class InputError(ValueError):
    """Input that rltemp refuses: the message names the argument, what it got and what it wants.

    The command line prints the message on one line and exits with code 2; anything else that escapes is a defect.
    """


class DivergenceError(InputError):
    """Training that left the finite numbers, or all useful ones: the message says whose, when, and what to lower."""


def first_line(error: BaseException) -> str:
    """What an exception says, as far as it goes into one line; its type if it says nothing."""
    return next(filter(None, str(error).splitlines()), type(error).__name__)


def short(value: object) -> str:
    """A value of plain data, as at most 80 characters on one line."""
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
