"""The study of RLKD plays what is missing, pairs what it compares, and changes nothing but its tables."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.experiments.studies import rlkd
from rltemp.experiments.studies.rlkd_page import Outcome, insert, student_table, temperature_table
from rltemp.experiments.studies.rlkd_toy import PaidElsewhere
from rltemp.recipes import Recipe

PAGE = (Path(__file__).parents[3] / "docs" / "rlkd.md").read_text(encoding="utf-8")


def _cells(table: str, row: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def _outcomes() -> dict[str, Outcome]:
    rng = np.random.default_rng(0)
    luck = rng.normal(0.9, 0.02, 5)

    def make(gain: float, end: float | None = None) -> Outcome:
        accuracy = luck + gain + rng.normal(0, 0.002, 5)
        if end is None:
            return Outcome(accuracy, 1 - accuracy, accuracy)
        means = np.stack([np.full(5, 2.0), np.full(5, 2.0), end + rng.normal(0, 0.1, 5)], axis=1)
        return Outcome(accuracy, 1 - accuracy, accuracy, means, np.array([[0.0, 0.2, 0.5]] * 5))

    arms = {"T = 4": make(0.0), "T = 2": make(0.02), "rlkd": make(0.01, 1.0), "shuffled rewards": make(0.0, 2.0)}
    lost = arms["rlkd"].accuracy.copy()
    lost[2] = np.nan
    means, spreads = (values[:4] for values in (arms["rlkd"].means, arms["rlkd"].spreads) if values is not None)
    return arms | {"wrong density": Outcome(lost, lost, lost, means, spreads)}


def test_students_are_paired_and_those_without_an_agent_left_out() -> None:
    outcomes = _outcomes()
    table = student_table(outcomes, ["T = 4", "T = 2"])
    assert _cells(table, "tuned static: T = 2")[1] == f"{100 * outcomes['T = 2'].accuracy.mean():.2f}"
    gain = 100 * (outcomes["rlkd"].accuracy - outcomes["T = 4"].accuracy)
    low, high = stats.t.interval(0.95, 4, gain.mean(), stats.sem(gain))
    found = [float(x.replace("\N{MINUS SIGN}", "-")) for x in re.findall(r"[^\s\[\],]+", _cells(table, "rlkd")[3])]
    assert found == pytest.approx([gain.mean(), low, high], abs=0.006)
    assert _cells(table, "wrong density")[5] == "4, 1 diverged"


def test_temperatures_are_compared_with_the_control_s() -> None:
    outcomes = _outcomes()
    row = _cells(temperature_table(outcomes), "rlkd")
    means, control = outcomes["rlkd"].means, outcomes["shuffled rewards"].means
    assert means is not None
    assert control is not None
    assert row[1] == "4.00"
    assert float(row[2]) == pytest.approx(2 ** means[:, 2].mean(), abs=0.006)
    octaves = (means - control)[:, 2].mean()
    assert float(row[3].split()[0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(octaves, abs=0.006)
    assert row[5] == "1.41"


def test_a_table_is_put_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for old in ("old\n", ""):
        page.write_text(f"a\n<!-- table x -->\n{old}<!-- end of x -->\nb\n")
        insert(page, "x", "| new |")
        assert page.read_text() == "a\n<!-- table x -->\n| new |\n<!-- end of x -->\nb\n"
    insert(page, "y", "nowhere")
    insert(tmp_path / "none.md", "x", "nowhere")
    assert page.read_text().count("nowhere") == 0
    page.write_text("<!-- table x -->\n")
    with pytest.raises(InputError, match=r"must have '<!-- end of x -->' after '<!-- table x -->'"):
        insert(page, "x", "| new |")


def test_what_is_finished_is_not_played_again(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimization = dataclasses.replace(tiny_recipe.optimization, epochs=2)
    recipe = dataclasses.replace(tiny_recipe, optimization=optimization)
    task = dataclasses.replace(tiny_task, optimization=optimization)
    monkeypatch.setattr(rlkd, "STATIC", {"T = 4": "static(temperature=4)"})
    monkeypatch.setattr(rlkd, "AGENTS", {"rlkd": "rlkd(hidden=(4,))", "as released": "rlkd-as-released(hidden=(4,))"})
    work = rlkd.units(range(2))
    first = rlkd.play(work[:3], task, recipe, tmp_path)
    played = []

    def diverge(unit: rlkd.Unit, *_: object) -> dict[str, str]:
        played.append(unit)
        return {"trouble": "too hot"}

    monkeypatch.setattr(rlkd, "measure", diverge)
    again = rlkd.play(work, task, recipe, tmp_path)
    assert {unit: again[unit] for unit in work[:3]} == first
    assert played == work[3:]
    outcomes = rlkd.collect(again, range(2))
    assert np.isfinite(outcomes["T = 4"].accuracy).all()
    assert np.isfinite(outcomes["as released"].accuracy).tolist() == [True, False]
    means = outcomes["rlkd"].means
    assert means is not None
    assert means[0, 0] == 2.0  # the warm-up at T = 4


def test_batches_of_the_toy_are_paid_as_said() -> None:
    paid = {}
    for whose in ("own", "last", "any"):
        env = PaidElsewhere(whose)
        env.reset(seed=3)
        paid[whose] = [float(env.step(np.full((16, 1), 0.1 * i, np.float32))[1][0]) for i in range(5)]
    assert paid["last"] == [0.0, *paid["own"][:4]]
    assert paid["any"] != paid["own"]


def test_the_page_has_the_study_s_tables() -> None:
    for name in ("toy", "arena-digits-5 students", "arena-digits-5 temperatures"):
        table = PAGE[PAGE.index(f"<!-- table {name} -->") : PAGE.index(f"<!-- end of {name} -->")]
        assert table.count("\n|") > 5, name
