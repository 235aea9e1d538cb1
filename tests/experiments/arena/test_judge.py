"""Rulings on made-up accuracies: better only against all matched controls, and never where a comparison is not fair."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rltemp.experiments.arena.entries import Entry
from rltemp.experiments.arena.judge import LEAST_STUDENTS, judge
from rltemp.experiments.arena.outcome import Line
from rltemp.experiments.evaluation.statistics import crossed_difference, paired_difference

MakeEntry = Callable[..., Entry]


def by_method(entries: list[Entry], *, stacked: bool = True) -> dict[str, Line]:
    lines = judge(entries, least=LEAST_STUDENTS[stacked])
    assert [line.method for line in lines] == [entry.method for entry in entries]
    return {line.method: line for line in lines}


def references(make: MakeEntry, first: float = 0.8, second: float = 0.79, **changes: Any) -> list[Entry]:
    return [make(name, "reference", mean, **changes) for name, mean in (("static", first), ("schedule", second))]


@pytest.mark.parametrize(
    ("mean", "ruling", "reasons"),
    [
        (0.9, "better", ()),
        (0.805, "not better", ("not clearly better than schedule",)),
        (0.7, "worse", ("worse than schedule",)),
    ],
)
def test_better_is_better_than_every_reference(
    make_entry: MakeEntry, mean: float, ruling: str, reasons: tuple[str, ...]
) -> None:
    """The second reference reaches as much as the method in the middle, give or take."""
    entries = [
        make_entry("static", "reference", 0.6),
        make_entry("schedule", "reference", 0.805, noise=0.004),
        make_entry("agent", "trained", mean, noise=0.004),
    ]
    line = by_method(entries)["agent"]
    assert (line.ruling, line.reasons) == (ruling, reasons)


def test_worse_than_one_is_worse_whatever_the_others_say(make_entry: MakeEntry) -> None:
    entries = [make_entry("agent", mean=0.8), *references(make_entry, 0.9, 0.7)]
    line = by_method(entries)["agent"]
    assert (line.ruling, line.reasons) == ("worse", ("worse than static",))


def test_nothing_is_asked_of_bounds_references_and_controls(make_entry: MakeEntry) -> None:
    entries = [make_entry("labels", "bound", 0.5), *references(make_entry), make_entry("longer", "control", 0.9)]
    assert {line.ruling for line in by_method(entries).values()} == {""}


def _p(entry: Entry, other: Entry) -> float:
    return float(stats.ttest_rel(entry.results[0].accuracy, other.results[0].accuracy).pvalue)


def test_the_correction_runs_over_all_comparisons_of_a_family(make_entry: MakeEntry) -> None:
    """Clear alone, and in a family of few, but not in one of many."""
    ones = references(make_entry, 0.8, 0.6, noise=0.01)
    close = make_entry("close", "rule", 0.809, noise=0.01)
    crowd = [make_entry(f"rule {number}", "rule", 0.8, noise=0.01) for number in range(20)]
    p = _p(close, ones[0])
    assert 0.05 / 42 < p < 0.05 / 2
    assert by_method([*ones, close])["close"].ruling == "better"
    lines = by_method([*ones, close, *crowd])
    assert lines["close"].reasons == ("not clearly better than static",)
    # A trained policy is a family of its own.
    agent = make_entry("close", "trained", 0.809, noise=0.01)
    assert by_method([*ones, agent, *crowd])["close"].ruling == "better"

    tested = [close, *crowd]
    pairs = [(entry, reference) for entry in tested for reference in ones]
    order = sorted(pairs, key=lambda pair: _p(*pair))
    clear: dict[tuple[str, str], bool] = {}
    still = True
    for rank, (entry, reference) in enumerate(order):
        still = still and _p(entry, reference) * (len(order) - rank) < 0.05
        clear[entry.method, reference.method] = still
    assert 0 < sum(clear.values()) < len(clear)
    for entry in tested:
        means = {r.method: float((entry.results[0].accuracy - r.results[0].accuracy).mean()) for r in ones}
        wins = [clear[entry.method, name] and gap > 0 for name, gap in means.items()]
        losses = [clear[entry.method, name] and gap < 0 for name, gap in means.items()]
        assert lines[entry.method].ruling == ("better" if all(wins) else "worse" if any(losses) else "not better")


def test_what_is_not_compared_costs_the_others_nothing(make_entry: MakeEntry) -> None:
    ones = references(make_entry, 0.8, 0.6, noise=0.01)
    close = make_entry("close", "rule", 0.809, noise=0.01)
    crowd = [make_entry(f"rule {number}", "rule", 0.8, noise=0.01, objections=("it cheats",)) for number in range(20)]
    assert by_method([*ones, close, *crowd])["close"].ruling == "better"


def test_references_that_are_not_tuned(make_entry: MakeEntry) -> None:
    strong = make_entry("agent", mean=0.95)
    untuned = [make_entry("static", "reference", 0.8), make_entry("schedule", "reference", 0.8, tuning_runs=0)]
    for ones in (untuned, untuned[1:], []):
        line = by_method([strong, *ones])["agent"]
        assert (line.ruling, line.reasons) == ("withheld", ("its references are not tuned",))


@pytest.mark.parametrize(("runs", "ruling"), [(100, "better"), (101, "withheld")])
def test_references_that_are_tuned_less(make_entry: MakeEntry, runs: int, ruling: str) -> None:
    ones = [make_entry("static", "reference", tuning_runs=400), make_entry("schedule", "reference", tuning_runs=100)]
    line = by_method([make_entry("agent", mean=0.95, tuning_runs=runs), *ones])["agent"]
    assert line.ruling == ruling
    assert line.reasons == (() if runs == 100 else ("it took 101 student runs, tuning its references 100",))


@pytest.mark.parametrize(("stacked", "least"), [(True, 32), (False, 8)])
def test_few_students_prove_nothing(make_entry: MakeEntry, stacked: bool, least: int) -> None:
    assert LEAST_STUDENTS[stacked] == least
    for students, ruling in ((least, "better"), (least - 1, "withheld")):
        entries = [make_entry("agent", mean=0.95, students=students), *references(make_entry, students=students)]
        line = by_method(entries, stacked=stacked)["agent"]
        assert line.ruling == ruling
        assert line.reasons == (() if students == least else (f"{least - 1} students are fewer than {least}",))


def test_a_policy_with_a_probe_is_compared_with_one_that_has_its_images(make_entry: MakeEntry) -> None:
    agent = make_entry("agent", mean=0.85, reads_probe=True)
    line = by_method([agent, *references(make_entry)])["agent"]
    assert (line.ruling, line.reasons) == ("withheld", ("no control has the images of its probe",))
    uninformed = make_entry("longer", "control", 0.7)
    assert by_method([agent, *references(make_entry), uninformed])["agent"].ruling == "withheld"
    for mean, ruling in ((0.8, "better"), (0.9, "worse")):
        informed = make_entry("informed", "control", mean, reads_probe=True)
        assert by_method([agent, *references(make_entry), informed])["agent"].ruling == ruling
        # It is no business of a policy without a probe.
        blind = make_entry("blind", mean=0.85)
        assert by_method([blind, *references(make_entry), informed])["blind"].ruling == "better"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"passes": 32.0}, "it makes 2.0 times the passes of its references"),
        ({"updates": 180}, "it makes 2.0 times the passes of its references"),
        ({"updates": 96}, "it makes 1.1 times the passes of its references"),
        ({"updates": 94}, None),
    ],
)
def test_more_passes_ask_for_a_control_that_makes_them_as_well(
    make_entry: MakeEntry, changes: dict[str, Any], reason: str | None
) -> None:
    line = by_method([make_entry("agent", mean=0.85, **changes), *references(make_entry)])["agent"]
    assert (line.ruling, line.reasons) == (("withheld", (reason,)) if reason else ("better", ()))


@pytest.mark.parametrize(
    ("updates", "passes", "enough"), [(180, 16.0, True), (90, 32.0, True), (171, 16.0, True), (170, 16.0, False)]
)
def test_a_control_makes_nearly_as_many_passes(
    make_entry: MakeEntry, updates: int, passes: float, enough: bool
) -> None:
    control = make_entry("longer", "control", 0.8, updates=updates, passes=passes)
    agent = make_entry("agent", mean=0.85, updates=180)
    assert by_method([agent, *references(make_entry), control])["agent"].ruling == ("better" if enough else "withheld")


def test_between_longer_and_wider_validation_data_choose(make_entry: MakeEntry) -> None:
    """However good the other is on test images."""
    agent = make_entry("agent", mean=0.85, passes=32.0)
    longer = make_entry("longer", "control", 0.95, validation=0.7, updates=180)
    wider = make_entry("wider", "control", 0.8, validation=0.71, passes=32.0)
    ones = references(make_entry)
    for controls in ([longer, wider], [wider, longer]):
        assert by_method([agent, *ones, *controls])["agent"].ruling == "better"
    preferred = make_entry("longer", "control", 0.95, validation=0.72, updates=180)
    line = by_method([agent, *ones, preferred, wider])["agent"]
    assert (line.ruling, line.reasons) == ("worse", ("worse than longer",))


def test_a_control_that_knows_more_does_not_stand_for_one_that_runs_longer(make_entry: MakeEntry) -> None:
    agent = make_entry("agent", mean=0.85, passes=32.0, reads_probe=True)
    informed = make_entry("informed", "control", 0.8, passes=32.0, reads_probe=True)
    line = by_method([agent, *references(make_entry), informed])["agent"]
    assert line.reasons == ("it makes 2.0 times the passes of its references",)
    longer = make_entry("longer", "control", 0.8, updates=180)
    assert by_method([agent, *references(make_entry), informed, longer])["agent"].ruling == "better"


def test_all_that_is_unfair_is_said(make_entry: MakeEntry) -> None:
    agent = make_entry(
        "agent", mean=0.95, students=5, passes=32.0, reads_probe=True, tuning_runs=500, objections=("it cheats",)
    )
    line = by_method([agent, *references(make_entry, students=5)])["agent"]
    assert line.ruling == "withheld"
    assert line.reasons == (
        "it cheats",
        "it took 500 student runs, tuning its references 100",
        "5 students are fewer than 32",
        "no control has the images of its probe",
        "it makes 2.0 times the passes of its references",
    )


def test_trainings_of_one_method_are_judged_with_the_luck_of_training(make_entry: MakeEntry) -> None:
    ones = references(make_entry, noise=0.001)
    group = make_entry("agent", mean=0.81, noise=0.001, trainings=3)
    line = by_method([group, *ones])["agent"]
    accuracy = np.stack([result.accuracy for result in group.results])
    whole = crossed_difference(accuracy, ones[0].results[0].accuracy)
    assert line.regret is not None
    assert (line.regret.mean, line.regret.low, line.regret.high) == (-whole.mean, -whole.high, -whole.low)
    assert (line.regret.policies, line.regret.n) == (3, 32)
    assert line.accuracy == crossed_difference(accuracy, np.zeros(32))
    assert line.ruling == "better"
    # One training that fails: a mean that is still higher is no longer clear.
    odd = make_entry("odd", mean=0.75, noise=0.001)
    mixed = Entry("agent", "", "trained", (*group.results[:2], *odd.results), group.passes, 90, 0)
    even = references(make_entry, 0.785, 0.7, noise=0.001)
    gap = paired_difference(accuracy[:2].mean(0) * 2 / 3 + odd.results[0].accuracy / 3, even[0].results[0].accuracy)
    assert gap.low > 0
    assert by_method([mixed, *even])["agent"].reasons == (
        "not clearly better than static",
        "not clearly better than schedule",
    )


def test_regret_is_what_is_lost_to_the_better_reference_on_validation_data(make_entry: MakeEntry) -> None:
    best = make_entry("static", "reference", 0.8, validation=0.9, noise=0.01, nll=0.4)
    other = make_entry("schedule", "reference", 0.85, validation=0.7, noise=0.01)
    lost = make_entry("lost", "rule", 0.77, noise=0.01, nll=0.6)
    lines = by_method([make_entry("labels", "bound", 0.5), lost, other, best])
    regret = lines["lost"].regret
    assert regret is not None
    gaps = best.results[0].accuracy - lost.results[0].accuracy
    low, high = stats.t.interval(0.95, 31, loc=gaps.mean(), scale=stats.sem(gaps))
    assert (regret.mean, regret.low, regret.high) == pytest.approx((gaps.mean(), low, high))
    assert 0 < regret.low < regret.mean < regret.high
    assert lines["lost"].regret_nll == pytest.approx(0.2)
    assert lines["static"].regret is None
    assert lines["static"].regret_nll == 0.0
    for method in ("schedule", "labels"):
        assert lines[method].regret is not None
    assert lines["schedule"].regret is not None
    assert lines["schedule"].regret.mean < 0


def test_a_method_that_diverged_is_neither_better_nor_worse(make_entry: MakeEntry) -> None:
    ones = references(make_entry, 0.8, 0.6, noise=0.01)
    hot = make_entry("hot", "rule", 0.95, nll=np.inf)
    close = make_entry("close", "rule", 0.809, noise=0.01)
    lines = by_method([hot, close, *ones])
    assert (lines["hot"].ruling, lines["hot"].reasons) == ("diverged", ())
    assert lines["close"].ruling == "better"
