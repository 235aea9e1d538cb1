import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import ArenaOutcome, CellOutcome, Line
from rltemp.experiments.report.figure import to_png, to_svg
from rltemp.experiments.report.regret_curves import conditions_with_curves, plot_regret_curves
from rltemp.experiments.report.regret_figure import plot_regret_map
from rltemp.experiments.report.regret_map import (
    Entry,
    make_map,
    map_to_html,
    map_to_markdown,
    mean_text,
    regret_color,
)

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
MakeLine = Callable[..., Line]
MakeCell = Callable[..., CellOutcome]
MakeArena = Callable[..., ArenaOutcome]


@pytest.fixture
def outcome(make_line: MakeLine, make_cell: MakeCell) -> ArenaOutcome:
    reference = make_line("tuned", None, kind="reference")
    cells = (
        make_cell(
            [
                make_line("teacher", None, kind="bound"),
                reference,
                make_line("a", 1.0, 0.5),
                make_line("b", -0.4, 0.5, kind="trained"),
                make_line("c", 0.1),
                make_line("d", math.nan),
                make_line("shuffled", 0.1, kind="control"),
            ]
        ),
        make_cell([reference, make_line("a", 2.0, 3.0), make_line("c", math.nan)], "news", "few | words"),
        make_cell([reference, make_line("a", 9.0)], budget=4),
    )
    return ArenaOutcome(cells, {}, "")


def test_rows_by_hand(outcome: ArenaOutcome) -> None:
    regrets = make_map(outcome, 1)
    assert [cell.task for cell in regrets.columns] == ["digits", "news"]
    # Means -0.4, 0, 1.5; c diverged once and d in all cells: last, however good the rest.
    assert [row.method for row in regrets.rows] == ["b", "tuned", "a", "c", "d"]
    assert regrets.rows[2].mean == pytest.approx(0.015)
    assert [row.worst for row in regrets.rows] == [0, 0, 1, 1, 0]
    assert [entry.clear for entry in regrets.rows[2].entries if entry] == [True, False]
    assert regrets.rows[0].entries[1] is None
    assert math.isnan(regrets.rows[4].mean)


def test_markdown_by_hand(outcome: ArenaOutcome) -> None:
    assert map_to_markdown(make_map(outcome, 1)) == (
        "| Method | digits, clean | news, few \\| words | Mean | Worst |\n"
        "| :-- | --: | --: | --: | :-- |\n"
        f"| **b** | {MINUS}0.4 | {DASH} | {MINUS}0.4 (n = 1) | {MINUS}0.4 (digits, clean) |\n"
        "| tuned | 0.0 | 0.0 | 0.0 | 0.0 (digits, clean) |\n"
        "| a | **+1.0** | +2.0 | +1.5 | +2.0 (news, few \\| words) |\n"
        "| c | +0.1 | div. | +0.1 (n = 1, 1 div.) | div. (news, few \\| words) |\n"
        f"| d | div. | {DASH} | div. | div. (digits, clean) |\n"
    )


def test_many_cells_are_summed_up_per_condition_and_task(make_arena: MakeArena) -> None:
    lines = map_to_markdown(make_map(make_arena(tasks=7), 1)).splitlines()
    titles = [text.strip() for text in lines[0].strip("|").split("|")]
    assert titles == [
        "Method",
        *("all tasks, clean", "all tasks, few images"),
        *(f"task {task}, all conditions" for task in range(7)),
        "Mean",
        "Worst",
    ]
    row = next(line for line in lines if line.startswith("| T = 4 "))
    # Regret is 0.5 + the task's number: 3.5 over tasks 0 to 6.
    assert [text.strip() for text in row.strip("|").split("|")] == [
        *("T = 4", "+3.5", "+3.5"),
        *(f"+{task}.5" for task in range(7)),
        "+3.5",
        "+6.5 (task 6, clean)",
    ]


def test_a_mean_says_what_it_is_not_over() -> None:
    assert mean_text([]) == DASH
    assert mean_text([None]) == DASH
    assert mean_text([Entry(math.nan), None]) == "div."
    assert mean_text([Entry(0.01), Entry(0.02), None]) == "+1.5 (n = 2)"
    assert mean_text([Entry(0.01), Entry(math.nan)]) == "+1.0 (n = 1, 1 div.)"
    assert mean_text([Entry(-0.0004), Entry(0.0)]) == "0.0"


def test_html_colors_what_it_says(outcome: ArenaOutcome) -> None:
    html = map_to_html(make_map(outcome, 1))
    ElementTree.fromstring(html.replace("<br>", "<br/>"))
    # log(1 + 1 / 0.25) / log(1 + 10 / 0.25) = 0.433 of 0.6.
    assert '<td style="background: rgb(213 94 0 / 0.26)"><strong>+1.0</strong></td>' in html
    assert f'<td style="background: rgb(59 130 196 / 0.15)">{MINUS}0.4</td><td>{DASH}</td>' in html
    assert "<td>0.0</td>" in html
    assert "<td>div.</td>" in html


def test_the_larger_the_denser_and_not_beyond_reading() -> None:
    opacities = [regret_color(regret)[3] for regret in (0.0, 0.001, 0.01, 0.1, 0.5)]
    assert opacities == sorted(opacities)
    assert opacities[0] == 0
    assert opacities[3:] == pytest.approx([0.6, 0.6])
    assert regret_color(math.nan)[3] == 0
    assert regret_color(-0.01)[:3] != regret_color(0.01)[:3]
    assert regret_color(-0.01)[3] == regret_color(0.01)[3]


def texts(figure: Figure) -> list[str]:
    root = ElementTree.fromstring(to_svg(figure))
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_heat_map_holds_the_same_numbers(outcome: ArenaOutcome) -> None:
    shown = texts(plot_regret_map(make_map(outcome, 1)))
    for text in ("news, few | words", "mean", "worst", "a", "+1.0", "+2.0", "+1.5", f"{MINUS}0.4*", "div.", DASH):
        assert text in shown
    assert "teacher" not in shown
    assert "shuffled" not in shown


@pytest.mark.parametrize("tasks", [1, 2, 25])
def test_figures_render_the_same_every_time(make_arena: MakeArena, tasks: int) -> None:
    outcome = make_arena(tasks)
    draws: list[Callable[[], Figure]] = [
        lambda: plot_regret_map(make_map(outcome, 1)),
        lambda: plot_regret_curves(outcome, ["agent", "lskd"], ["clean"]),
    ]
    for draw in draws:
        first, second = draw(), draw()
        to_png(second, dpi=30)
        assert to_svg(first) == to_svg(second) == to_svg(first)
    shown = texts(plot_regret_map(make_map(outcome, 1)))
    assert ("all tasks, clean" in shown) == (tasks == 25)


def test_nothing_to_show_is_refused(outcome: ArenaOutcome, make_line: MakeLine, make_cell: MakeCell) -> None:
    with pytest.raises(InputError, match="one of 1, 4, got 2"):
        make_map(outcome, 2)
    bare = ArenaOutcome((make_cell([make_line("teacher", None, kind="bound")]),), {}, "")
    assert map_to_markdown(make_map(bare, 1)).count("\n") == 2
    with pytest.raises(InputError, match="at least one method"):
        plot_regret_map(make_map(bare, 1))
    with pytest.raises(InputError, match="regret of one of these"):
        plot_regret_curves(outcome, ["nobody"])
    with pytest.raises(InputError, match="1 to 6 names, got 7"):
        plot_regret_curves(outcome, list("abcdefg"))


def test_curves_go_through_the_regrets(outcome: ArenaOutcome) -> None:
    figure = plot_regret_curves(outcome, ["a", "b", "nobody"])
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "digits"
    curves = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    np.testing.assert_allclose(np.asarray(curves[0].get_xydata()), [[1, 1.0], [4, 9.0]])
    # b was not run at the second length.
    np.testing.assert_allclose(np.asarray(curves[1].get_xydata()), [[1, -0.4], [4, np.nan]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert conditions_with_curves(outcome, ["a"]) == ["clean", "few | words"]
    assert conditions_with_curves(outcome, ["b"]) == ["clean"]


def test_an_interval_without_ends_does_not_stretch_the_axis(make_line: MakeLine, make_cell: MakeCell) -> None:
    cells = tuple(make_cell([make_line(half=math.inf if budget == 1 else 0.5)], budget=budget) for budget in (1, 2))
    (axes,) = plot_regret_curves(ArenaOutcome(cells, {}, ""), ["lskd"]).axes
    assert -1 < axes.get_ylim()[0] < axes.get_ylim()[1] < 3


def test_figures_show_names_as_they_are(make_line: MakeLine, make_cell: MakeCell) -> None:
    outcome = ArenaOutcome((make_cell([make_line("$x_1$ <&>")], task="a & b"),), {}, "")
    assert "$x_1$ <&>" in texts(plot_regret_map(make_map(outcome, 1)))
    assert "a & b" in texts(plot_regret_curves(outcome, ["$x_1$ <&>"]))
    assert not re.search("<&>", map_to_html(make_map(outcome, 1)))
