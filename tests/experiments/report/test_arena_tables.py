import io
import math
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from rltemp.experiments.arena.outcome import CellOutcome, Line
from rltemp.experiments.evaluation.statistics import Difference
from rltemp.experiments.report.arena_tables import (
    cell_note,
    cell_to_html,
    cell_to_markdown,
    cell_to_rich,
    is_diverged,
    to_arena_cells,
)

DASH, MINUS, INFINITY = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{INFINITY}"
EVIL = "a | b <script>alert(1)</script> [red]c[/red] **d**"
MakeLine = Callable[..., Line]
MakeCell = Callable[..., CellOutcome]


def console(cell: CellOutcome, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(cell_to_rich(cell))
    return out.getvalue()


@pytest.fixture
def cell(make_line: MakeLine, make_cell: MakeCell) -> CellOutcome:
    return make_cell(
        [
            make_line(
                "agent", -1.25, 0.3, kind="trained", passes=1280.0, overhead=0.25, ruling="withheld",
                reasons=("tuned less", "one student"),
            ),
            make_line("shuffled", math.nan, kind="control", accuracy=Difference(math.nan, math.nan, math.nan, 8, 1.0)),
            make_line("teacher", None, kind="bound", passes=0.0, tuning_runs=0),
            make_line("other", 0.0, kind="trained", ruling="not better", reasons=("tuned less", "one student")),
        ]
    )  # fmt: skip


def test_cells_by_hand(cell: CellOutcome) -> None:
    cells = to_arena_cells(cell)
    assert [line.method for line in cells.sources] == ["teacher", "agent", "other", "shuffled"]
    # 90 % less a regret of -1.25 points; 1280 passes, a quarter of them extra.
    assert cells.lines[1] == (
        "agent",
        "91.25 ± 0.40",
        f"{MINUS}1.25 ± 0.30",
        "0.500",
        "3.4",
        "87.6",
        "0.125",
        "1,280 (25 %)",
        "12",
        "withheld",
    )
    assert cells.lines[0][1:4] == ("90.00 ± 0.40", DASH, "0.500")
    assert cells.lines[0][7:] == (DASH, "0", "")
    assert cells.lines[3][1:4] == (DASH, DASH, INFINITY)
    assert cells.lines[3][-1] == "diverged"


@pytest.mark.parametrize(
    ("overhead", "shown"), [(0.0, "384"), (0.004, "384 (<1 %)"), (0.125, "384 (12 %)"), (1 / 3, "384 (33 %)")]
)
def test_overhead_is_shown_where_there_is_some(
    make_line: MakeLine, make_cell: MakeCell, overhead: float, shown: str
) -> None:
    assert to_arena_cells(make_cell([make_line(overhead=overhead)])).lines[0][7] == shown


def test_one_student_has_no_end_to_its_interval(make_line: MakeLine, make_cell: MakeCell) -> None:
    line = make_line(setting="scale 4", half=math.inf)
    assert to_arena_cells(make_cell([line])).lines[0][:3] == (
        "lskd (scale 4)",
        "89.00 ± 0.40",
        f"+1.00 ± {INFINITY}",
    )
    assert cell_note(make_cell([line], students=1)).startswith("1,200 updates per run, 1 student behind")


def test_a_line_diverges_by_its_numbers_or_its_ruling(make_line: MakeLine) -> None:
    assert not is_diverged(make_line())
    assert not is_diverged(make_line(regret=None))
    assert is_diverged(make_line(ruling="diverged"))
    assert is_diverged(make_line(nll=math.inf))
    assert is_diverged(make_line(nll=math.nan))


def test_reasons_are_in_the_row_where_there_is_room_and_footnotes_where_not(cell: CellOutcome) -> None:
    assert "| withheld: tuned less; one student |" in cell_to_markdown(cell)
    assert '<td class="ruling ruling-not-better">not better: tuned less; one student</td>' in cell_to_html(cell)
    text = console(cell)
    assert "withheld [1]" in text
    # The same reasons are said once.
    assert "not better [1]" in text
    assert text.count("tuned less; one student") == 1
    assert text.rstrip().endswith("[1] tuned less; one student")


def test_the_console_has_room_for_every_number(make_line: MakeLine, make_cell: MakeCell) -> None:
    widest = make_line(
        "a policy with a name that is long " * 2, -11.25, 10.0, setting="T = 2, scale 4", kind="trained",
        passes=12800.0, overhead=0.25, tuning_runs=1200, ruling="not better", reasons=("x",), nll=12.345,
    )  # fmt: skip
    cell = make_cell([widest])
    text = console(cell)
    assert max(map(len, text.splitlines())) <= 120
    for shown in to_arena_cells(cell).lines[0][1:]:
        assert shown in text


def test_markdown_is_one_table_whatever_the_names(make_line: MakeLine, make_cell: MakeCell) -> None:
    cell = make_cell([make_line(EVIL, setting=EVIL, ruling="withheld", reasons=(EVIL,)), make_line()])
    tokens = MarkdownIt().enable("table").parse(cell_to_markdown(cell))
    assert {token.type.split("_")[0] for token in tokens} == {"table", "thead", "tbody", "tr", "th", "td", "inline"}
    inline = [token for token in tokens if token.type == "inline"]
    # A header, the name of the kind, two methods.
    assert len(inline) == 4 * 10
    assert "".join(child.content for child in inline[20].children or []) == f"{EVIL} ({EVIL})"


class Reader(HTMLParser):
    """Collects the rows' texts, and refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data


def test_html_holds_the_same_cells_grouped_and_escaped(make_line: MakeLine, make_cell: MakeCell) -> None:
    cell = make_cell([make_line(EVIL, setting=EVIL), make_line("teacher", None, kind="bound")])
    reader, cells = Reader(cell_to_html(cell)), to_arena_cells(cell)
    assert reader.open == []
    assert [tuple(row) for row in reader.rows] == [
        cells.header,
        ("Bounds", ""),
        cells.lines[0],
        ("Published rules", ""),
        cells.lines[1],
    ]
    assert "<script" not in cell_to_html(cell)


def test_console_names_are_text_and_not_markup(make_line: MakeLine, make_cell: MakeCell) -> None:
    text = console(make_cell([make_line("[red]x[/nope]", ruling="withheld", reasons=("[b]y[/nope]",))]))
    assert "[red]x[/nope]" in text
    assert "[1] [b]y[/nope]" in text
