"""The page that explains the arena's tables explains all of them."""

from pathlib import Path
from typing import get_args

from rltemp.experiments.arena.outcome import Cell, CellOutcome, Ruling
from rltemp.experiments.report.arena_tables import KIND_NAMES, to_arena_cells

PAGE = (Path(__file__).parents[2] / "docs" / "read-arena.md").read_text(encoding="utf-8")


def _first_column(head: str) -> list[str]:
    table = PAGE[PAGE.index(f"| {head} |") :].split("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def test_every_column_is_shown_and_explained() -> None:
    header = to_arena_cells(CellOutcome(Cell("digits", "clean", 1), 90, 32, "", ())).header
    assert f"| {' | '.join(header)} |" in PAGE
    assert _first_column("column") == list(header)


def test_every_group_and_every_ruling_is_explained() -> None:
    assert _first_column("group of lines") == list(KIND_NAMES.values())
    assert _first_column("ruling") == [ruling for ruling in get_args(Ruling) if ruling]
