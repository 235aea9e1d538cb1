"""What all engines have in common: teams that turn units of work into results, and units that come to nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from rltemp.errors import InputError, first_line
from rltemp.experiments.engines.workplace import Leave, Workplace

__all__ = ["Engine", "Failure", "Prepare", "Team", "refuse"]

Unit = TypeVar("Unit")
Result = TypeVar("Result")

Prepare = Callable[[Workplace], Callable[[Unit], Result]]
"""Called once by every worker, at its workplace; gives what turns a unit into its result."""

_NAMED = 10
"""Failed units that a message names; of more, only their number."""


@dataclass(frozen=True)
class Failure:
    """Why a unit has no result.

    Attributes:
        reason: in one line.
        error: what it raised; None if its processes died.
    """

    reason: str
    error: Exception | None = None

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What a unit raised; a mistake of the user's says all itself."""
        line = first_line(error)
        return cls(line if isinstance(error, InputError) else f"{type(error).__name__}: {line}", error)


class Team(Protocol):
    """Workers that are ready for units of one kind."""

    def results(self, units: Sequence[Any], /) -> Iterator[tuple[Any, Any]]:
        """Every unit with its result, or with a `Failure`, in the order in which they are finished.

        Args:
            units: in this order they are begun.
        """


class Engine(ABC):
    """Makes teams. The results of units are the same, bit for bit, whichever engine does them on a kind of processor.

    Attributes:
        here: whether work is done in this process, which may then use what it has already.
    """

    here = False

    @abstractmethod
    def team(self, prepare: Prepare[Any, Any], root: str, leave: Leave) -> AbstractContextManager[Team]:
        """A team for the time of the block, at whose end, however it comes about, all its workers are gone.

        Args:
            prepare: what each worker begins with. Like units and results it must be fit to be sent to other processes.
            root: folder of all runs.
            leave: what recipes may do.

        Raises:
            InputError: if the engine cannot start.
        """


def refuse(failures: Mapping[str, Failure]) -> None:
    """Raise what says which units failed, and why; nothing if none did.

    Args:
        failures: by what people call the unit.

    Raises:
        InputError: if all that happened can be a user's mistake, or the machine's.
        RuntimeError: if a unit raised anything else, caused by that.
    """
    if not failures:
        return
    named = [f"{name}: {failure.reason}" for name, failure in list(failures.items())[:_NAMED]]
    more = [f"and {len(failures) - _NAMED} more"] if len(failures) > _NAMED else []
    message = (
        f"{len(failures)} of the units of work failed ({'; '.join(named + more)}); "
        "the rest is kept, and the same command tries again what is missing"
    )
    errors = [failure.error for failure in failures.values() if failure.error is not None]
    expected = (InputError, OSError, MemoryError)
    if defect := next((error for error in errors if not isinstance(error, expected)), None):
        raise RuntimeError(message) from defect
    raise InputError(message) from next(iter(errors), None)
