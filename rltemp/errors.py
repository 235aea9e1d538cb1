"""The exceptions a user's mistake raises."""

__all__ = ["DivergenceError", "InputError"]


class InputError(ValueError):
    """Input that rltemp refuses: the message names the argument, what it got and what it wants.

    The command line prints the message on one line and exits with code 2; anything else that escapes is a defect.
    """


class DivergenceError(InputError):
    """Training that left the finite numbers, or all useful ones: the message says whose, when, and what to lower."""
