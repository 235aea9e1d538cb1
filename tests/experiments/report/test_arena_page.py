import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import ArenaOutcome, CellOutcome, Line
from rltemp.experiments.report.arena_page import arena_markdown, choose_curves, write_arena_report
from rltemp.experiments.report.arena_sentences import arena_headlines

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
EVIL = "<script>alert('x')</script> | **y** `z`"
VOID = {"meta", "br"}
MakeLine = Callable[..., Line]
MakeCell = Callable[..., CellOutcome]
MakeArena = Callable[..., ArenaOutcome]


class Page(HTMLParser):
    """Reads a page as a browser would, and refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def write(path: Path, outcome: ArenaOutcome) -> str:
    write_arena_report(path, outcome)
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_asks_for_nothing(make_arena: MakeArena, tmp_path: Path) -> None:
    outcome = make_arena()
    text = write(tmp_path / "arena.html", outcome)
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    # A figure per condition; a map per budget and a table per cell; a fold per cell and one for the machine.
    assert page.tags.count("svg") == 2
    assert page.tags.count("table") == 2 + 8
    assert page.tags.count("details") == 8 + 1
    assert len(set(page.ids)) == len(page.ids)
    assert all(link.removeprefix("#") in page.ids for link in page.links)
    assert all(target.removeprefix("#") in page.ids for target in re.findall(r"url\(([^)]*)\)", text))
    for shown in (*arena_headlines(outcome), "a processor", "rltemp arena", "1,200 updates per run"):
        assert shown in page.words
    assert text == write(tmp_path / "again.html", make_arena())


def test_whatever_is_not_ours_is_escaped(make_line: MakeLine, make_cell: MakeCell, tmp_path: Path) -> None:
    line = make_line(EVIL, 1.0, setting=EVIL, kind="trained", ruling="withheld", reasons=(EVIL,))
    cells = tuple(make_cell([line], EVIL, EVIL, budget, recipe=EVIL) for budget in (1, 2))
    outcome = ArenaOutcome(cells, {EVIL: EVIL}, EVIL)
    text = write(tmp_path / "arena.html", outcome)
    assert "<script" not in text
    assert Page(text).words.count(EVIL) >= 10
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(arena_markdown(outcome))
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "em_open", "em_close"}
    assert "html_block" not in {token.type for token in tokens}


def test_markdown_holds_maps_and_tables(make_arena: MakeArena) -> None:
    text = arena_markdown(make_arena())
    titles = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert titles == [
        f"Regret, {TIMES}1",
        f"Regret, {TIMES}4",
        *(
            f"task {task}, {condition}, {TIMES}{budget}"
            for task in (0, 1)
            for condition in ("clean", "few images")
            for budget in (1, 4)
        ),
        "What the numbers mean",
    ]
    tokens = MarkdownIt().enable("table").parse(text)
    assert [token.type for token in tokens].count("table_open") == 2 + 8
    assert "\n\n\n" not in text
    assert text.endswith("\n")


def test_sentences_by_hand(make_line: MakeLine, make_cell: MakeCell) -> None:
    def agent(ruling: str, *reasons: str) -> Line:
        return make_line("agent", 0.1, kind="trained", ruling=ruling, reasons=reasons)

    def cell(task: str, policy: Line, single: float, lskd: float = 1.0) -> CellOutcome:
        singles = [make_line("T = 4", single, kind="single"), make_line("T = 1", 5.0, kind="single")]
        return make_cell([*singles, make_line("lskd", lskd), policy], task)

    outcome = ArenaOutcome(
        (
            cell("a", agent("better"), 0.5, math.nan),
            cell("b", agent("withheld", "tuned less", "one student"), 2.0),
            cell("c", agent("withheld", "tuned less"), -0.7),
            cell("d", agent("worse"), 0.2),
            cell("e", agent("not better", "shuffled"), 0.0),
        ),
        {},
        "",
    )
    assert arena_headlines(outcome) == (
        "“agent”, judged in 5 cells: better than all its matched controls in 1 (a: clean), not better than "
        "all of them in 1, worse in 1 (d: clean), without a ruling in 2.",
        f"2 of 5 rulings are withheld: tuned less (2 {TIMES}); one student (1 {TIMES}).",
        "Diverged: “lskd” in 1 cell.",
        # (0.5 + 2 - 0.7 + 0.2 + 0) / 5.
        f"Points lost at {TIMES}1 to the reference tuned on each task: “T = 4” +0.40 in the mean, +2.00 at worst "
        "(b, clean); “T = 1” +5.00 in the mean, +5.00 at worst (a, clean).",
        f"All of this is at {TIMES}1; runs of another length were not looked at.",
    )


def test_rules_are_better_in_one_sentence(make_line: MakeLine, make_cell: MakeCell) -> None:
    def cell(task: str, budget: int, spread: str) -> CellOutcome:
        lines = [make_line(name, ruling="worse") for name in ("lskd", "ttm")]
        return make_cell([make_line("spread", ruling=spread), *lines], task, budget=budget)

    some = ArenaOutcome((cell("a", 1, "better"), cell("b", 1, "worse"), cell("a", 3, "better")), {}, "")
    assert arena_headlines(some) == (
        "Better than all matched controls: “spread” in 2 of 3 cells (a: all 2 cells), none of "
        "the other 2 rules, methods and single settings.",
    )
    none = ArenaOutcome((cell("a", 1, "worse"), cell("a", 3, "worse")), {}, "")
    assert arena_headlines(none) == ("Better than all matched controls: none of 3 rules, methods and single settings.",)


def test_a_single_setting_that_diverged_has_no_worst_regret(make_line: MakeLine, make_cell: MakeCell) -> None:
    lost = {"a": 1.0, "b": math.nan}
    cells = [make_cell([make_line("T = 2", regret, kind="single")], task) for task, regret in lost.items()]
    sentences = arena_headlines(ArenaOutcome(tuple(cells), {}, ""))
    assert sentences[0] == "No method was held against matched controls."
    assert "“T = 2” +1.00 in the mean, diverged (b, clean)" in sentences[-2]


def test_long_lists_are_cut_short(make_line: MakeLine, make_cell: MakeCell) -> None:
    line = make_line("agent", kind="trained", ruling="better")
    outcome = ArenaOutcome(tuple(make_cell([line], f"t{i}") for i in range(9)), {}, "")
    assert "in 9 (t0, t1, t2, t3, t4, t5, and 3 more: clean)." in arena_headlines(outcome)[0]


def test_cells_are_told_by_task(make_line: MakeLine, make_cell: MakeCell) -> None:
    def told(budgets: tuple[int, ...], better: set[tuple[str, str, int]]) -> str:
        cells = [
            make_cell([make_line("agent", kind="trained", ruling="better" if cell in better else "withheld")], *cell)
            for task in "abc"
            for condition in ("clean", "noise")
            for budget in budgets
            if (cell := (task, condition, budget))
        ]
        sentence = arena_headlines(ArenaOutcome(tuple(cells), {}, ""))[0]
        return sentence[sentence.index("(") : sentence.index(")") + 1]

    both = {(task, condition, 1) for task in "ac" for condition in ("clean", "noise")}
    assert told((1,), {*both, ("b", "noise", 1)}) == "(a, c: all 2 cells; b: noise)"
    some = {*both, ("b", "noise", 3), ("b", "clean", 1), ("b", "clean", 3)}
    assert told((1, 3), some) == f"(a, c: clean only {TIMES}1, noise only {TIMES}1; b: clean, noise only {TIMES}3)"


def test_curves_are_of_single_settings_the_best_rule_and_trained_policies(make_arena: MakeArena) -> None:
    # Means over tasks: T = 4 has 1.0, T = 1 has 3.0.
    assert choose_curves(make_arena()) == ("T = 4", "T = 1", "lskd", "agent")


def test_one_cell_and_a_hundred(
    make_arena: MakeArena, make_line: MakeLine, make_cell: MakeCell, tmp_path: Path
) -> None:
    one = ArenaOutcome((make_cell([make_line()]),), {}, "")
    page = Page(write(tmp_path / "one.html", one))
    assert page.tags.count("svg") == 0
    assert "1 cell, 1 task, 1 condition" in page.words
    hundred = make_arena(tasks=50, budgets=(1,))  # one length: fifty panels of curves take a minute
    assert Page(write(tmp_path / "hundred.html", hundred)).tags.count("details") == 101
    assert "all tasks, clean" in arena_markdown(hundred)


def test_an_empty_arena_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one cell"):
        write_arena_report(tmp_path / "arena.html", ArenaOutcome((), {}, ""))
    with pytest.raises(InputError, match="at least one cell"):
        arena_markdown(ArenaOutcome((), {}, ""))
