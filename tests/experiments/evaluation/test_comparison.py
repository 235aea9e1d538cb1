from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rltemp.experiments.evaluation.comparison import compare
from rltemp.experiments.evaluation.results import Evaluation, Family, PolicyResult
from rltemp.experiments.evaluation.statistics import Difference, crossed_difference, paired_difference
from rltemp.experiments.report.sentences import headline, note, points, signed

STUDENTS = 12
MINUS = "\N{MINUS SIGN}"


def policy(name: str, family: Family, accuracy: Any, validation: float = 0.5, group: str | None = None) -> PolicyResult:
    ones = np.ones(STUDENTS)
    return PolicyResult(
        name,
        ones * accuracy,
        ones,
        0.1 * ones,
        ones * validation,
        ones,
        0.9 * ones,
        0.2 * ones,
        None,
        name,
        family,
        group,
    )


def evaluation(*results: PolicyResult, references: dict[str, Any] | None = None) -> Evaluation:
    setting = {} if references is None else {"references": references}
    return Evaluation("digits", setting, tuple(range(STUDENTS)), results, {})


def around(mean: float, spread: float = 0.01, seed: int = 0) -> Any:
    noise = np.random.default_rng(seed).standard_normal(STUDENTS)
    return mean + spread * (noise - noise.mean()) / noise.std(ddof=1)


STATIC = policy("T = 4", "static", 0.70)
UNTUNED = "The references were not tuned on this task: `rltemp tune` tunes them."


def test_the_reference_is_chosen_on_validation_data() -> None:
    lucky_on_test = policy("T = 1", "static", 0.9, validation=0.4)
    early, late = policy("16 → 1", "schedule", 0.5, validation=0.6), policy("1 → 16", "schedule", 0.8, validation=0.2)
    comparison = compare(evaluation(lucky_on_test, STATIC, late, early))
    assert comparison.best_static is STATIC
    assert comparison.best_schedule is early
    assert [row.label for row in comparison.rows] == ["1 → 16", "16 → 1", "T = 1", "T = 4"]
    assert [row.verdict for row in comparison.rows] == ["better", "worse", "better", "reference"]
    assert [row.schedule_verdict for row in comparison.rows] == ["better", "reference", "better", "better"]


def test_differences_are_those_of_the_same_students() -> None:
    learned = policy("agent", "trained", around(0.72))
    row = compare(evaluation(STATIC, learned), confidence=0.9).rows[0]
    assert row.versus_static == paired_difference(learned.accuracy, STATIC.accuracy, 0.9)
    assert row.versus_schedule is None
    assert row.accuracy.mean == pytest.approx(0.72)


def test_several_trainings_are_one_row_with_the_wider_interval() -> None:
    trainings = [policy(f"agent-{i}", "trained", around(0.71 + 0.01 * i, seed=i), group="agent") for i in range(3)]
    comparison = compare(evaluation(STATIC, *trainings))
    row = comparison.rows[0]
    accuracy = np.stack([training.accuracy for training in trainings])
    assert row.label == "agent"
    assert row.versus_static == crossed_difference(accuracy, STATIC.accuracy)
    assert "(mean of 3 trainings)" in headline(comparison)
    assert "covers its trainings" in note(comparison)


@pytest.mark.parametrize(
    ("mean", "verb", "gap"),
    [
        (0.72, "beats", " by +2.00 points [+"),
        (0.70, "does not clearly beat", ": 0.00 points ["),
        (0.68, "does worse than", f": {MINUS}2.00 points [{MINUS}"),
    ],
)
def test_the_headline_says_what_the_interval_says(mean: float, verb: str, gap: str) -> None:
    said = headline(compare(evaluation(STATIC, policy("agent", "trained", around(mean)))))
    reference = "the best static temperature (T = 4, the only one evaluated)"
    assert said.startswith(f"The learned policy {verb} {reference}{gap}")
    assert ("the interval contains 0" in said) == (mean == 0.70)


def test_the_headline_speaks_of_the_schedule_too() -> None:
    schedules = policy("16 → 1", "schedule", 0.71, 0.6), policy("8 → 2", "schedule", 0.70)
    statics = STATIC, policy("T = 2", "static", 0.6, 0.1)
    said = headline(compare(evaluation(*statics, *schedules, policy("agent", "trained", around(0.72)))))
    assert "(T = 4, chosen among 2 on validation data)" in said
    assert "It beats the best schedule (16 → 1, chosen among 2 on validation data) by +1.00 points" in said


def test_several_learned_policies_are_corrected_for() -> None:
    # t = 2.4 with 11 degrees of freedom: p between 0.025 and 0.05, enough for one policy, not for the better of two.
    weak = policy("weak", "trained", around(0.70 + 2.4 * 0.01 / STUDENTS**0.5))
    alone = compare(evaluation(STATIC, weak))
    p = alone.rows[0].versus_static
    assert p is not None
    assert 0.025 < p.p < 0.05
    assert alone.rows[0].verdict == "better"
    both = compare(evaluation(STATIC, weak, policy("lost", "trained", around(0.70, seed=1))))
    assert [row.verdict for row in both.rows] == ["unclear", "unclear", "reference"]
    assert "“weak” does not clearly beat" in headline(both)
    assert "not clear once corrected" in headline(both)
    # Rules and controls are no part of what is claimed for learned policies.
    rules = [policy(f"rule {i}", "rule", around(0.70, seed=i)) for i in range(5)]
    assert compare(evaluation(STATIC, weak, *rules)).rows[0].verdict == "better"


def test_nothing_to_compare_is_said() -> None:
    assert headline(compare(evaluation(STATIC))) == "No learned policy was evaluated."
    alone = compare(evaluation(policy("agent", "trained", around(0.7))))
    assert "nothing can be said" in headline(alone)
    assert alone.rows[0].verdict == ""


def test_numbers_as_text() -> None:
    shares = (0.021, -0.003, 0.0, -0.00001, 0.12345)
    assert [signed(share) for share in shares] == ["+2.10", f"{MINUS}0.30", "0.00", "0.00", "+12.35"]
    assert points(Difference(0.021, -0.015, 0.027, 5, 0.1)) == f"+2.10 points [{MINUS}1.50, +2.70]"


def lost(name: str, family: Family, students: int, **options: Any) -> PolicyResult:
    """A policy that is best by accuracy, under which some students diverged."""
    result = policy(name, family, around(0.9), validation=0.95, **options)
    nll = result.nll.copy()
    nll[:students] = [np.inf, 1e20, 2e3][:students]
    return replace(result, nll=nll)


def test_a_policy_that_diverged_is_compared_with_nothing() -> None:
    learned = policy("agent", "trained", around(0.72))
    results = (STATIC, lost("T = 1", "static", 1), lost("16 → 1", "schedule", 2), learned)
    comparison = compare(evaluation(*results))
    assert comparison.best_static is STATIC
    assert comparison.best_schedule is None
    rows = {row.label: row for row in comparison.rows}
    assert [(rows[name].diverged, rows[name].verdict) for name in ("T = 1", "16 → 1", "T = 4", "agent")] == [
        (1, "diverged"),
        (2, "diverged"),
        (0, "reference"),
        (0, "better"),
    ]
    assert rows["T = 1"].versus_static is None
    alone = compare(evaluation(STATIC, learned)).rows[0]
    assert rows["agent"].versus_static == alone.versus_static


def test_the_headline_says_what_diverged() -> None:
    trainings = [lost("a", "trained", 3, group="agent"), policy("b", "trained", 0.7, group="agent")]
    said = headline(compare(evaluation(STATIC, *trainings)))
    assert said == f"The learned policy (mean of 2 trainings) diverged: 3 of 24 students came to nothing. {UNTUNED}"
    alone = headline(compare(evaluation(lost("T = 1", "static", 1), policy("agent", "trained", around(0.72)))))
    assert alone.startswith("No static temperature came to its end without diverging")


TUNED: dict[str, Any] = {
    "policies": ["static(temperature=0.5, scale=2)", "anneal(start=2, end=0.25, scale=4)"],
    "runs": 384,
}


@pytest.mark.parametrize(
    ("references", "others", "runs"),
    [
        (None, [], 0),  # an evaluation of before there were any
        ({"policies": [], "runs": 0}, [], 0),
        (TUNED, [], 384),
        (TUNED, [policy("T = 4", "static", 0.7, validation=0.1)], 384),  # beaten on validation data
        (TUNED, [policy("T = 4", "static", 0.7, validation=0.9)], 0),  # the reference, and it was not tuned
        (TUNED, [policy("T 8 to 1", "schedule", 0.7, validation=0.9)], 0),
        ({**TUNED, "policies": TUNED["policies"][:1]}, [], 0),
        ({**TUNED, "policies": ["runs/gone/policy"]}, [], 0),
        ({**TUNED, "policies": [", ".join(TUNED["policies"])]}, [], 384),
    ],
)
def test_references_are_said_to_be_tuned_if_those_that_were_chosen_are(
    references: dict[str, Any] | None, others: list[PolicyResult], runs: int
) -> None:
    families: tuple[Family, Family] = ("static", "schedule")
    found = [policy(name, family, 0.7) for name, family in zip(TUNED["policies"], families, strict=True)]
    learned = policy("agent", "trained", around(0.72))
    comparison = compare(evaluation(*found, *others, learned, references=references))
    assert comparison.tuning_runs == runs
    said = headline(comparison)
    assert said.endswith(
        "Each reference was tuned on validation data with 384 student runs." if runs else f" {UNTUNED}"
    )
    assert (UNTUNED in said) == (runs == 0)
