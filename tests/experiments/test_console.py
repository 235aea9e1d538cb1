"""Results go to standard output, and nothing else does."""

import io
import subprocess
import sys

import pytest

from rltemp.experiments.console import output


def test_results_and_progress_go_separate_ways() -> None:
    code = (
        "from rltemp.display import progress\n"
        "from rltemp.experiments.console import output\n"
        "with progress('work', 1) as display: display.advance()\n"
        "output().print('x' * 110)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "x" * 110 + "\n"
    assert done.stderr.count("work: ") == 2


def test_output_is_wide_enough_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert output().width >= 110
