import io
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rltemp.errors import InputError
from rltemp.experiments.evaluation.comparison import compare
from rltemp.experiments.evaluation.results import Evaluation
from rltemp.experiments.report.figure import COLORS, to_png, to_svg
from rltemp.experiments.report.plots import (
    plot_accuracy,
    plot_differences,
    plot_difficulty,
    plot_temperature,
    plot_training,
)

Make = Callable[..., Evaluation]


def figures(evaluation: Evaluation) -> dict[str, Figure]:
    comparison = compare(evaluation)
    return {
        "accuracy": plot_accuracy(comparison),
        "differences": plot_differences(comparison),
        "temperature": plot_temperature(comparison),
        "difficulty": plot_difficulty(evaluation.results[0]),
        "training": plot_training({"return": [1.0, 2.0], "std": [0.3, np.nan]}),
    }


def texts(figure: Figure) -> list[str]:
    root = ElementTree.fromstring(to_svg(figure))
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_every_figure_renders_the_same_every_time(make_evaluation: Make) -> None:
    first, second = figures(make_evaluation()), figures(make_evaluation())
    for name, figure in first.items():
        svg = to_svg(figure)
        # Rendering moves nothing: neither the same figure again nor one rendered as PNG before.
        to_png(second[name])
        assert to_svg(second[name]) == svg == to_svg(figure)
        image = Image.open(io.BytesIO(to_png(figure, dpi=50)))
        assert image.size[0] == 240
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_the_settings_of_matplotlib_are_left_alone(make_evaluation: Make) -> None:
    with matplotlib.rc_context({"font.size": 31.0, "axes.grid": False, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        svg = to_svg(plot_accuracy(compare(make_evaluation())))
        assert dict(matplotlib.rcParams) == before
    assert svg == to_svg(plot_accuracy(compare(make_evaluation())))


def test_accuracy_shows_every_student_and_the_mean(make_evaluation: Make) -> None:
    evaluation = make_evaluation()
    comparison = compare(evaluation)
    axes = plot_accuracy(comparison).axes[0]
    near = [row for row in comparison.rows if row.label != "T = 1"]
    for row, dots in zip(near, axes.collections, strict=True):
        drawn = np.asarray(dots.get_offsets())[:, 0]
        assert sorted(drawn) == pytest.approx(sorted(100 * row.members[0].accuracy))
    diamonds = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if line.get_marker() == "D"]
    assert diamonds == pytest.approx([100 * row.accuracy.mean for row in near])


def test_what_lies_too_far_off_is_named(make_evaluation: Make) -> None:
    comparison = compare(make_evaluation())
    figure = plot_differences(comparison)
    far = next(row for row in comparison.rows if row.label == "T = 1")
    assert far.versus_static is not None
    assert f"\N{MINUS SIGN}{abs(100 * far.versus_static.mean):.2f}" in texts(figure)
    assert f"{100 * far.accuracy.mean:.2f}" in texts(plot_accuracy(comparison))
    low, high = figure.axes[0].get_xlim()
    for row in comparison.rows:
        if row.versus_static is not None and row is not far:
            assert low < 100 * row.versus_static.low < 100 * row.versus_static.high < high


def test_an_arrow_never_names_what_the_axis_holds(make_evaluation: Make) -> None:
    # T = 1 is far off on average, but a student of the learned policy fell as low: there is room to draw it.
    evaluation = make_evaluation()
    learned, *others = evaluation.results
    unlucky = replace(learned, accuracy=np.append(learned.accuracy[1:], 0.6))
    comparison = compare(replace(evaluation, results=(unlucky, *others)))
    figure = plot_accuracy(comparison)
    assert len(figure.axes[0].collections) == len(comparison.rows)
    assert not figure.axes[0].texts


def test_the_learned_policy_is_always_in_view(make_evaluation: Make) -> None:
    comparison = compare(make_evaluation(gain=-0.3))
    learned = comparison.rows[0].versus_static
    assert learned is not None
    assert plot_differences(comparison).axes[0].get_xlim()[0] < 100 * learned.low


def test_temperature_has_a_panel_per_policy_that_moves(make_evaluation: Make) -> None:
    figure = plot_temperature(compare(make_evaluation()))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["learned policy", "T 16 → 1", "DTKD", "random T"]
    for axes in panels:
        assert axes.get_yscale() == "log"
        # The best static temperature, T = 4, as a line in every panel.
        assert any(set(np.atleast_1d(line.get_ydata())) == {4.0} for line in axes.lines)
    assert panels[0].lines[0].get_color() == COLORS["trained"]
    median = np.asarray(panels[1].lines[0].get_ydata())
    assert median == pytest.approx(16 * (1 / 16) ** np.linspace(0, 1, 20))


@pytest.mark.parametrize("plot", [plot_accuracy, plot_differences])
def test_long_names_neither_overlap_nor_leave_the_figure(make_evaluation: Make, plot: Callable[..., Figure]) -> None:
    evaluation = make_evaluation()
    longer = [replace(result, label=f"{result.label}, scale 1.46, labels 0.0704") for result in evaluation.results]
    figure = plot(compare(replace(evaluation, results=tuple(longer))))
    (axes,) = figure.axes
    names = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in pairwise(names))
    assert any("\n" in label.get_text() for label in axes.get_yticklabels())
    for box in (*names, axes.xaxis.label.get_window_extent()):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_each_policy_has_limits_of_its_own(make_evaluation: Make) -> None:
    evaluation = make_evaluation()
    hot = replace(evaluation.results[0], label="hot")
    assert hot.trace is not None
    far = replace(hot, trace=replace(hot.trace, quantiles=np.full((20, 5), 100.0)))
    figure = plot_temperature(compare(replace(evaluation, results=(far, *evaluation.results[1:]))))
    (low, high), others = figure.axes[0].get_ylim(), figure.axes[1].get_ylim()
    assert 16 <= low < 100 < high <= 256
    assert others[0] < 1.1
    assert others[1] < 20
    # T = 4, the best static temperature, lies below the first panel and is no line in it.
    assert [text.get_text() for text in figure.axes[0].texts] == ["\N{DOWNWARDS ARROW} T = 4"]
    assert len(figure.axes[0].lines) == 1
    assert not figure.axes[1].texts


@pytest.mark.parametrize(("low", "high"), [(1e-4, 9.0), (0.2, 6.0), (1.4, 3.9)])
def test_difficulty_has_plain_ticks(make_evaluation: Make, low: float, high: float) -> None:
    result = make_evaluation().results[0]
    assert result.trace is not None
    trace = replace(result.trace, difficulty=np.geomspace(low, high, len(result.trace.difficulty)))
    axes = plot_difficulty(replace(result, trace=trace)).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert 3 <= len(labels) <= 9
    assert all(re.fullmatch(r"\d+|0\.0*[1-9]", label) for label in labels)


@pytest.mark.parametrize("factor", [1.0, 1e-4, 100.0])
def test_temperature_ticks_are_few_powers_of_two(make_evaluation: Make, factor: float) -> None:
    evaluation = make_evaluation()
    learned, *others = evaluation.results
    assert learned.trace is not None
    quantiles = learned.trace.quantiles * np.geomspace(1, factor, 20)[:, None]
    extreme = replace(learned, trace=replace(learned.trace, quantiles=quantiles))
    axes = plot_temperature(compare(replace(evaluation, results=(extreme, *others)))).axes[0]
    ticks = np.log2(axes.get_yticks())
    assert 3 <= len(ticks) <= 8
    np.testing.assert_array_equal(ticks, np.round(ticks))
    labels = [float(label.get_text()) for label in axes.get_yticklabels()]
    assert labels == pytest.approx(2.0**ticks, rel=0.05)


def test_difficulty_lines_are_medians(make_evaluation: Make) -> None:
    result = make_evaluation().results[0]
    assert result.trace is not None
    axes = plot_difficulty(result).axes[0]
    # Paper-colored outlines and the lines themselves: three of each.
    assert len(axes.lines) == 6
    late = result.trace.sample_progress >= 2 / 3
    x, y = result.trace.difficulty[late], result.trace.temperature[late]
    easiest = np.array_split(np.argsort(x, kind="stable"), 12)[0]
    assert np.asarray(axes.lines[-1].get_ydata())[0] == pytest.approx(float(np.median(y[easiest])))


def test_few_instances_make_no_line_but_a_figure(make_evaluation: Make) -> None:
    result = make_evaluation().results[0]
    assert result.trace is not None
    few = {name: getattr(result.trace, name)[:2] for name in ("difficulty", "temperature", "sample_progress")}
    svg = to_svg(plot_difficulty(replace(result, trace=replace(result.trace, **few))))
    assert "Temperature" in svg


def test_training_shows_the_columns_that_are_there() -> None:
    figure = plot_training({"return": [1, 2, 3], "time": [0, 1, 2], "kl": [np.nan, 0.1, 0.2]})
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["Return of a rollout", "KL to the previous policy"]
    with pytest.raises(InputError, match="must hold one of return, kl"):
        plot_training({"time": [1.0]})


def test_labels_are_shown_as_they_are(make_evaluation: Make) -> None:
    figure = plot_accuracy(compare(make_evaluation(label="$x_1$ <&> 5")))
    assert "$x_1$ <&> 5" in texts(figure)


def test_colors_have_one_purpose(make_evaluation: Make) -> None:
    # A page replaces ink, muted, grid and paper by its own; any other gray would vanish on one of the two grounds.
    allowed = {"#24292f", "#626a73", "#dfe3e8", "#fefefe", *COLORS.values()}
    drawn = figures(make_evaluation())
    for name in ("accuracy", "differences", "temperature", "training"):
        assert set(re.findall(r"#[0-9a-f]{6}(?=[;\"])", to_svg(drawn[name]))) <= allowed


def test_missing_data_is_refused(make_evaluation: Make) -> None:
    evaluation = make_evaluation()
    static = next(result for result in evaluation.results if result.label == "T = 1")
    alone = compare(replace(evaluation, results=(static,)))
    with pytest.raises(InputError, match="another policy"):
        plot_differences(alone)
    with pytest.raises(InputError, match="recorded temperature"):
        plot_temperature(alone)
    with pytest.raises(InputError, match="T = 1 must have a trace"):
        plot_difficulty(static)
