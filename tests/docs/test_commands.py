"""The commands that pages show are commands: names, options and values of recipes are known."""

import re
import shlex
from pathlib import Path

import pytest

from rltemp.experiments.cli import main

REPOSITORY = Path(__file__).parents[2]
TAKES_A_RECIPE = re.compile(r"^(?:    )?uv run rltemp ((?:train|tune|evaluate|distill) [\w-]+(?: .*)?)$", re.MULTILINE)
COMMANDS = sorted(
    {
        command.partition("  #")[0].strip()
        for name in ("README", "docs/uses", "docs/choose", "docs/recipes", "docs/tuning", "docs/credit")
        for command in TAKES_A_RECIPE.findall((REPOSITORY / f"{name}.md").read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    # A policy that is there, in the place of one that a command before it leaves.
    there = command.replace("runs/digits-short/train/policy", "rltemp/digits")
    assert main([*shlex.split(there), "--print-config"]) == 0, capsys.readouterr().err
    assert "data:" in capsys.readouterr().out


def test_the_costs_of_a_search_are_what_the_page_says() -> None:
    page = (REPOSITORY / "docs" / "choose.md").read_text(encoding="utf-8")
    assert "# 3 searches of 24 settings of 8 students: 576 runs" in page
    assert 3 * 24 * 8 == 576
    (trials, students, runs) = re.findall(r"--trials (\d+) --students (\d+) +# (\d+) runs", page)[0]
    assert 3 * int(trials) * int(students) == int(runs)
