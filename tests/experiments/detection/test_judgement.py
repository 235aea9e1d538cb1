"""Verdicts and intervals by hand."""

import numpy as np
import pytest

from rltemp.experiments.detection.judgement import DetectionResult, judge, table
from rltemp.experiments.detection.precision import Precision
from rltemp.experiments.evaluation.results import Family

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
BASE = np.array([0.30, 0.34, 0.32])
WOBBLE = np.array([0.001, 0.0, -0.001])


def result(label: str, family: Family, above: float, validation: float, diverged: int = 0) -> DetectionResult:
    ap = BASE + above * (1 + 100 * WOBBLE)
    return DetectionResult(label, family, ap, 2 * ap, np.full(3, validation), diverged)


RESULTS = [
    result("no KD", "control", -0.10, 0.9),
    # Validation data choose the worse of the two: tests have no say.
    result("T = 1", "static", 0.0, 0.5),
    result("T = 4", "static", 0.05, 0.4),
    result("T 8 to 1", "schedule", 0.01, 0.5),
    result("mine", "trained", 0.10, 0.1),
    result("broken", "rule", 0.5, 0.9, diverged=1),
]


def test_each_is_judged_against_the_static_that_validation_data_chose() -> None:
    rows = {row.result.label: row for row in judge(RESULTS)}
    assert list(rows) == ["mine", "T 8 to 1", "T = 1", "T = 4", "broken", "no KD"]
    assert {label: row.verdict for label, row in rows.items()} == {
        "mine": "better",
        "T 8 to 1": "better",
        "T = 1": "reference",
        "T = 4": "better",
        "broken": "diverged",
        "no KD": "worse",
    }
    gap = rows["mine"].versus_static
    assert gap is not None
    # Differences 0.11, 0.10, 0.09; t with 2 degrees of freedom at 97.5 % is 4.302653.
    assert (gap.mean, gap.high - gap.mean) == pytest.approx((0.10, 4.302653 * 0.01 / 3**0.5))
    assert rows["T = 1"].versus_static is rows["T 8 to 1"].versus_schedule is rows["broken"].versus_static is None


def test_what_is_not_clear_is_called_so() -> None:
    noisy = DetectionResult("noisy", "rule", BASE + np.array([0.05, -0.04, 0.0]), BASE, BASE)
    assert [row.verdict for row in judge([RESULTS[1], noisy])] == ["reference", "unclear"]


def test_the_table_says_it_in_percent_and_points() -> None:
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table(judge(RESULTS), Precision(0.6, 0.9)).splitlines()
    ]
    assert lines[0] == ["Policy", "AP50, %", "AP, %", "AP vs T = 1", "AP vs T 8 to 1", "Verdict"]
    cells = {line[0]: line[1:] for line in lines[2:]}
    assert cells["mine"][2:] == ["+10.0 ± 2.5", "+9.0 ± 2.2", "better"]
    # 0.30, 0.34 and 0.32 have deviation 0.02.
    assert cells["T = 1"][1:] == ["32.0 ± 5.0", DASH, f"{MINUS}1.0 ± 0.2", "reference"]
    assert cells["broken"] == [DASH, DASH, DASH, DASH, "diverged (1 of 3)"]
    assert cells["the teacher"] == ["90.0", "60.0", DASH, DASH, ""]


def test_without_references_there_is_nothing_to_compare_with() -> None:
    rows = judge([RESULTS[0]])
    assert (rows[0].versus_static, rows[0].verdict) == (None, "")
    assert table(rows, Precision(0.6, 0.9)).splitlines()[0] == "| Policy | AP50, % | AP, % | Verdict |"
