"""The one exception a user's mistake raises."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that rltemp refuses: the message names the argument, what it got and what it wants.

    The command line prints the message on one line and exits with code 2; anything else that escapes is a defect.
    """
