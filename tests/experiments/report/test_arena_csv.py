import csv
import io
from collections.abc import Callable
from typing import Any

from rltemp.experiments.arena.outcome import ArenaOutcome
from rltemp.experiments.report.arena_csv import arena_csv


def test_a_row_per_line_with_numbers_in_full(make_line: Callable[..., Any], make_cell: Callable[..., Any]) -> None:
    third = make_line("a, b", 25.0, kind="trained", ruling="withheld", reasons=("one", "two"), nll=float("inf"))
    cells = (make_cell([make_line("tuned", None), third], "digits"), make_cell([make_line()], "news", budget=3))
    rows = list(csv.DictReader(io.StringIO(arena_csv(ArenaOutcome(cells, {}, "")))))
    assert [(row["task"], row["budget"], row["updates"]) for row in rows] == [
        ("digits", "1", "1200"),
        ("digits", "1", "1200"),
        ("news", "3", "3600"),
    ]
    assert rows[0]["regret"] == ""
    assert rows[1]["method"] == "a, b"
    assert float(rows[1]["regret"]) == 0.25
    assert (rows[1]["nll"], rows[1]["reasons"]) == ("inf", "one; two")


def test_every_row_has_every_column(make_arena: Callable[..., ArenaOutcome]) -> None:
    header, *rows = csv.reader(io.StringIO(arena_csv(make_arena())))
    assert {len(row) for row in rows} == {len(header)}
    assert len(set(header)) == len(header)
