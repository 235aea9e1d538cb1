"""What is seen of long work, on a terminal and elsewhere."""

import io
import itertools

import pytest
from rich.console import Console

from rltemp.display import progress


def plain() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=False, width=40), file


def test_without_a_terminal_there_is_a_line_per_tenth() -> None:
    console, file = plain()
    seconds = itertools.count(100.0, 0.5)
    with progress("a long [red] description that would not fit", 40, console, clock=lambda: next(seconds)) as display:
        for _ in range(20):
            display.advance()
        display.describe("the second half")
        display.advance(20)
    lines = file.getvalue().splitlines()
    assert lines == [
        "a long [red] description that would not fit: 0/40, 0.5 s",
        *(f"a long [red] description that would not fit: {4 * n}/40, {0.5 * (n + 1):.1f} s" for n in range(1, 6)),
        "the second half: 40/40, 3.5 s",
    ]


def test_little_work_prints_little() -> None:
    console, file = plain()
    with progress("work", 3, console, clock=lambda: 0.0) as display:
        for _ in range(3):
            display.advance()
    assert [line.split()[1] for line in file.getvalue().splitlines()] == ["0/3,", "1/3,", "2/3,", "3/3,"]


def test_on_a_terminal_there_is_a_bar() -> None:
    file = io.StringIO()
    with progress("first [b]", 5, Console(file=file, force_terminal=True, width=120)) as display:
        display.advance(2)
        display.describe("second")
        display.advance(3)
    text = file.getvalue()
    assert "5/5" in text
    assert "second" in text
    # The cursor is shown again.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.parametrize("terminal", [True, False])
def test_an_interruption_passes_and_cleans_up(terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal)
    with pytest.raises(KeyboardInterrupt), progress("work", 5, console):
        raise KeyboardInterrupt
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == int(terminal)


def test_a_library_is_quiet_where_there_is_no_terminal() -> None:
    console, file = plain()
    with progress("work", 2, console, lines=False) as display:
        display.advance()
        display.describe("more")
    assert file.getvalue() == ""
    terminal = io.StringIO()
    with progress("work", 2, Console(file=terminal, force_terminal=True), lines=False) as display:
        display.advance(2)
    assert "2/2" in terminal.getvalue()
