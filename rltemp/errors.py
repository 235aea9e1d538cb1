"""Exceptions for users' mistakes, and one-line texts for their messages."""

__all__ = ["DivergenceError", "InputError", "first_line", "short"]

_LONGEST = 80


class InputError(ValueError):
    """Input that rltemp refuses: the message names the argument, what it must be, and what it was.

    The command line prints the message on one line and exits with code 2; any other exception that escapes is a defect.
    """


class DivergenceError(InputError):
    """Training that became infinite, NaN, or useless: the message says which network, when, and what to lower."""


def first_line(error: BaseException) -> str:
    """First non-empty line of an exception's message; the name of its type if the message is empty."""
    return next(filter(None, str(error).splitlines()), type(error).__name__)


def short(value: object) -> str:
    """`repr` of a plain value, cut to at most 80 characters, for one line of an error message."""
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
