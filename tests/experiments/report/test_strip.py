from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import Evaluation, FloatArray, PolicyResult, TemperatureTrace
from rltemp.experiments.report.strip import STAGES, plot_strip

Make = Callable[..., Evaluation]


@pytest.fixture
def result(make_evaluation: Make) -> PolicyResult:
    """Nine instances per stage, whose difficulty is 1 to 9 and whose temperature ten times that."""
    difficulty = np.tile(np.arange(1.0, 10.0), STAGES)
    trace = TemperatureTrace(
        progress=np.array([0.0]),
        quantiles=np.ones((1, 5)),
        difficulty=difficulty,
        temperature=10 * difficulty,
        sample_progress=np.repeat((np.arange(STAGES) + 0.5) / STAGES, 9),
    )
    return replace(make_evaluation().results[0], trace=trace)


def lines(result: PolicyResult) -> dict[str, FloatArray]:
    axes = plot_strip(result).axes[0]
    return {str(line.get_label()): np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines}


def test_thirds_by_hand(result: PolicyResult) -> None:
    drawn = lines(result)
    assert list(drawn) == ["easy third", "hard third"]
    assert drawn["easy third"].tolist() == [20.0] * STAGES
    assert drawn["hard third"].tolist() == [80.0] * STAGES


def test_mislabelled_instances_are_neither_easy_nor_hard(result: PolicyResult) -> None:
    assert result.trace is not None
    # The three hardest of a stage.
    wrong = (result.trace.difficulty > 6).astype(np.float64)
    # In the last stage nobody is mislabelled.
    wrong[-9:] = 0.0
    drawn = lines(replace(result, trace=replace(result.trace, mislabelled=wrong)))
    assert list(drawn) == ["easy third", "hard third", "mislabelled"]
    np.testing.assert_array_equal(drawn["mislabelled"], [80.0] * (STAGES - 1) + [np.nan])
    # Two instances are too few for a point.
    np.testing.assert_array_equal(drawn["easy third"], [np.nan] * (STAGES - 1) + [20.0])


def test_without_a_sample_there_is_nothing_to_draw(result: PolicyResult) -> None:
    with pytest.raises(InputError, match="must have a trace with sampled instances"):
        plot_strip(replace(result, trace=None))
