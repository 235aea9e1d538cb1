"""Exceptions for users' mistakes, and one-line texts for their messages."""

__all__ = ["DivergenceError", "InputError", "first_line", "short", "to_continue"]

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


def to_continue(name: str, saved: object, got: object) -> str:
    """What a setting must be to continue from what was saved; of a long list, how many or the first that differs."""
    if isinstance(saved, list | tuple) and isinstance(got, list | tuple) and len(repr(saved)) > _LONGEST:
        if len(saved) != len(got):
            return f"{name} must be the {len(saved)} of the checkpoint to continue, got {len(got)}"
        at = next(at for at, (theirs, ours) in enumerate(zip(saved, got, strict=True)) if theirs != ours)
        return f"{name}[{at}] must be {short(saved[at])} to continue, got {short(got[at])}"
    return f"{name} must be {short(saved)} to continue, got {short(got)}"
