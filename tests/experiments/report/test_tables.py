import io
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from rltemp.experiments.console import PLAIN_WIDTH
from rltemp.experiments.evaluation.comparison import Comparison, compare
from rltemp.experiments.evaluation.results import Evaluation, Family, PolicyResult, TeacherResult, TemperatureTrace
from rltemp.experiments.report.sentences import about_teacher, about_trouble, headline
from rltemp.experiments.report.tables import to_cells, to_html, to_markdown, to_rich

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
FIDELITY = ("Agreement, %", "KL to teacher")
ACCURACY = np.array([0.70, 0.72, 0.74, 0.76])


def policy(label: str, family: Family, gain: float) -> PolicyResult:
    accuracy = ACCURACY + gain * np.array([0.9, 1.1, 1.0, 1.0])
    ones = np.ones(4)
    ece, agreement, divergence = 0.1234 * ones, 0.9 * ones, 0.25 * ones
    return PolicyResult(label, accuracy, 0.5 * ones, ece, accuracy, ones, agreement, divergence, None, label, family)


@pytest.fixture
def comparison() -> Comparison:
    results = (
        policy("T = 4", "static", 0.0),
        policy("16 → 1", "schedule", 0.01),
        policy("a <b> | c", "trained", 0.02),
        policy("random", "control", -0.02),
    )
    return compare(Evaluation("digits", {}, (1, 2, 3, 4), results, {}))


def test_cells_by_hand(comparison: Comparison) -> None:
    cells = to_cells(comparison)
    assert cells.header == ("Policy", "Accuracy, %", "NLL", "ECE, %", *FIDELITY, "vs T = 4", "vs 16 → 1", "Verdict")
    # t with 3 degrees of freedom at 97.5 % is 3.182446. Gains in points: 1.8, 2.2, 2, 2 (sd 0.163299), against the
    # schedule 0.9, 1.1, 1, 1; half width t sd / 2. Accuracies 71.8, 74.2, 76, 78: mean 75, sd 2.638 -> 4.20.
    shared = ("75.00 ± 4.20", "0.500", "12.3", "90.0", "0.250")
    assert cells.lines[0] == ("a <b> | c", *shared, "+2.00 ± 0.26", "+1.00 ± 0.13", "better")
    assert cells.lines[1][6:] == ("+1.00 ± 0.13", DASH, "better")
    assert cells.lines[2][6:] == (DASH, f"{MINUS}1.00 ± 0.13", "reference")
    assert cells.lines[3][6:] == (f"{MINUS}2.00 ± 0.26", f"{MINUS}3.00 ± 0.39", "worse")


def test_markdown_has_a_cell_per_column(comparison: Comparison) -> None:
    lines = to_markdown(comparison).splitlines()
    assert len(lines) == 2 + 4
    assert lines[2].startswith("| **a \\<b\\> \\| c** | 75.00")
    assert {line.replace("\\|", "").count("|") for line in lines} == {10}


def test_a_label_of_a_stranger_is_one_cell_of_text(comparison: Comparison) -> None:
    label = "a | b\n\n# c\n[link](http://e.com) `code` <img src=x> \\| **x**"
    rows = (replace(comparison.rows[0], label=label), *comparison.rows[1:])
    tokens = MarkdownIt().enable("table").parse(to_markdown(replace(comparison, rows=rows)))
    assert {token.type.split("_")[0] for token in tokens} == {"table", "thead", "tbody", "tr", "th", "td", "inline"}
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 5 * 9
    children = [child for child in cells[9].children or [] if child.content != "<!-- -->"]
    assert {child.type for child in children} <= {"text", "text_special", "strong_open", "strong_close"}
    assert "".join(child.content for child in children) == " ".join(label.split())


class Reader(HTMLParser):
    """Collects the table's texts, and refuses tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.lines: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.lines[-1][-1] += data


def test_html_holds_the_same_cells_escaped(comparison: Comparison) -> None:
    reader = Reader()
    reader.feed(to_html(comparison))
    cells = to_cells(comparison)
    assert reader.open == []
    assert [tuple(line) for line in reader.lines] == [cells.header, *cells.lines]
    assert "<b>" not in to_html(comparison)


@pytest.mark.parametrize("width", [80, 120])
def test_the_console_shows_every_number(comparison: Comparison, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(to_rich(comparison))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for line in to_cells(comparison, fidelity=False).lines:
        for cell in line[1:]:
            assert cell in text


@pytest.mark.parametrize("label", ["T 16 → 1", "runs/digits-varied (aligned)", "preset(ctkd-instance)"])
def test_a_line_of_the_plain_console_is_not_wrapped(comparison: Comparison, label: str) -> None:
    rows = tuple(replace(row, label=label) for row in comparison.rows)
    console = Console(file=io.StringIO(), width=PLAIN_WIDTH)
    console.print(to_rich(replace(comparison, rows=rows)))
    assert len(console.file.getvalue().splitlines()) == 2 + len(rows)  # type: ignore[attr-defined]


def test_what_was_not_measured_is_a_dash_and_a_column_of_dashes_is_gone(comparison: Comparison) -> None:
    unknown: dict[str, Any] = {"agreement": np.nan, "divergence": np.nan}
    some = (replace(comparison.rows[0], **unknown), *comparison.rows[1:])
    lines = to_cells(replace(comparison, rows=some)).lines
    assert [line[4:6] for line in lines] == [(DASH, DASH), *[("90.0", "0.250")] * 3]
    none = tuple(replace(row, **unknown) for row in comparison.rows)
    assert to_cells(replace(comparison, rows=none)) == to_cells(replace(comparison, rows=none), fidelity=False)


def test_a_student_without_a_finite_divergence_is_shown(comparison: Comparison) -> None:
    rows = (replace(comparison.rows[0], divergence=np.inf), replace(comparison.rows[1], divergence=12345.0))
    assert [line[5] for line in to_cells(replace(comparison, rows=rows)).lines] == ["inf", "1.2e+04"]


def test_the_teacher_has_a_line_of_its_own(comparison: Comparison) -> None:
    assert about_teacher(comparison) == ""
    taught = replace(comparison.evaluation, teacher=TeacherResult(0.98765, 0.1234, 0.0567))
    assert about_teacher(compare(taught)) == "The teacher: accuracy 98.77 %, NLL 0.123, ECE 5.7 %."


def test_console_labels_are_text_and_not_markup(comparison: Comparison) -> None:
    row = replace(comparison.rows[0], label="[red]x[/red] [/nope]")
    console = Console(file=io.StringIO(), width=120)
    console.print(to_rich(replace(comparison, rows=(row,))))
    assert "[red]x[/red] [/nope]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_reference_its_column_is_gone() -> None:
    results = (policy("agent", "trained", 0.0),)
    comparison = compare(Evaluation("digits", {}, (1, 2, 3, 4), results, {}))
    assert to_cells(comparison).header == ("Policy", "Accuracy, %", "NLL", "ECE, %", *FIDELITY, "Verdict")
    assert to_cells(comparison).lines[0][-1] == ""


def test_the_same_numbers_give_the_same_text(comparison: Comparison) -> None:
    results = tuple(row.members[0] for row in reversed(comparison.rows))
    again = compare(Evaluation("digits", {}, (1, 2, 3, 4), results, {}))
    assert to_html(again) == to_html(comparison)
    assert to_markdown(again) == to_markdown(comparison)
    assert headline(again) == headline(comparison)


def test_students_that_diverged_are_explained_and_not_left_as_numbers(comparison: Comparison) -> None:
    learned, schedule, static, control = (row.members[0] for row in comparison.rows)
    lost = replace(control, nll=np.array([0.5, np.inf, 2e3, 0.5]), trouble="a student diverged at update 7: lower <x>")
    again = compare(replace(comparison.evaluation, results=(learned, schedule, static, lost)))
    fate = "2 of 4 students came to nothing, and the policy is compared with nothing."
    text = f"{fate} A student diverged at update 7: lower <x>."
    assert [about_trouble(row, static) for row in again.rows] == ["", "", "", text]
    assert to_cells(again).lines[3] == ("random", *[DASH] * 7, "diverged (2 of 4)")
    reader = Reader()
    reader.feed(to_html(again))
    assert reader.lines[-1] == [text]
    # What an earlier version measured does not say when.
    older = compare(replace(comparison.evaluation, results=(static, replace(lost, trouble=""))))
    assert about_trouble(older.rows[1], static).startswith(f"{fate} When is not known; lower optimization.lr")
    recovered = compare(replace(comparison.evaluation, results=(static, replace(lost, nll=control.nll))))
    assert about_trouble(recovered.rows[1], static) == "A student diverged at update 7: lower <x>. It recovered."


def test_a_collapse_is_explained(comparison: Comparison) -> None:
    static, control = comparison.rows[2].members[0], comparison.rows[3].members[0]
    # Accuracies under T = 4 are 0.70, 0.72, 0.74 and 0.76: the second and the last fall below half.
    trace = TemperatureTrace([0.0, 0.5], [[4.0] * 5, [0.125] * 5], [], [], [])  # type: ignore[arg-type]
    lost = replace(control, accuracy=np.array([0.36, 0.35, 0.38, 0.1]), trace=trace)
    again = compare(replace(comparison.evaluation, results=(static, lost)))
    assert [about_trouble(row, again.best_static) for row in again.rows] == [
        "",
        "2 of 4 students collapsed to less than half of their accuracy under T = 4. Its median temperature went from 4 "
        "to 0.12. Lower its kd_weight, or optimization.lr.",
    ]
    assert about_trouble(again.rows[1], None) == ""
    constant = replace(lost, trace=replace(trace, quantiles=np.full((2, 5), 4.0)))
    again = compare(replace(comparison.evaluation, results=(static, constant)))
    assert "Its median temperature stayed at 4. " in about_trouble(again.rows[1], static)
