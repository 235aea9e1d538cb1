"""The study of plug-ins does what is missing, tells what the arena's judge found, and fills its page."""

import re
from pathlib import Path

import pytest

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import Cell, CellOutcome, Line
from rltemp.experiments.arena.run import run_arena
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.workshop import Workshop
from rltemp.experiments.engines import Here, Leave
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.evaluation.statistics import Difference
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.experiments.report.arena_tables import DASH
from rltemp.experiments.studies import plugins
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe

PAGE = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text(encoding="utf-8")


def _line(method: str, mean: float, regret: float | None, ruling: str = "", setting: str = "") -> Line:
    gap = None if regret is None else Difference(regret, regret - 0.01, regret + 0.02, 8, 0.5)
    accuracy = Difference(mean, mean, mean, 8, 1.0)
    return Line(method, setting, "rule", accuracy, *[0.0] * 6, 0, gap, 0.0, ruling)  # type: ignore[arg-type, call-arg]


def test_a_row_has_what_is_above_the_better_reference_and_its_ruling() -> None:
    lines = (
        _line("the teacher", 0.9, None),
        _line("static, tuned", 0.81, 0.01, setting="T = 2"),
        _line("schedule, tuned", 0.82, None, setting="T 2 → 1"),
        _line("rlkd, tuned", 0.70, 0.12, "worse"),
        _line("rltemp/general-kd (batch)", 0.84, -0.02, "not better"),
    )
    cell = CellOutcome(Cell("fashion", "dkd", 1), 100, 8, "learning rate 0.1", lines)
    head, _, row = (line.strip("|").split("|") for line in plugins.table([("DKD", cell)]).splitlines())
    told = {title.strip(): value.strip() for title, value in zip(head, row, strict=True)}
    assert (told["teacher"], told["static, tuned"], told["schedule, tuned"]) == ("90.0", "81.0", "82.0")
    assert told["RLKD"].replace("\N{MINUS SIGN}", "-") == "-12.0 [-14.0, -11.0] worse"
    assert told["`general-kd`"] == "+2.0 [0.0, +3.0] not better"
    assert told["NormKD"] == DASH
    assert "| DKD | learning rate 0.1 | T = 2 | T 2 → 1 |" in plugins.settings([("DKD", cell)])


def test_every_column_is_a_method_of_the_arena() -> None:
    assert set(plugins.METHODS) == {name.partition(",")[0] for name in plugins.COLUMNS if name.endswith(", tuned")}
    assert {trained_policy(path).label for path in plugins.TRAINED} <= set(plugins.COLUMNS)


def test_a_cell_is_done_once_and_kept(tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    selection = Selection(
        tasks={"tiny": NamedRecipe("tiny", tiny_recipe)},
        conditions=("pkt",),
        budgets=(1,),
        methods=("rlkd",),
        trained=(),
        students=2,
        trials=3,
        tuning_students=1,
        asked=2,
    )
    store = ResultStore(tmp_path / "work")
    (first,) = run_arena(selection, str(tmp_path), store, Here(), NoProgress(), Leave())
    assert first.line("rlkd, tuned") is not None
    assert {line.ruling for line in first.lines if line.kind == "rule"} <= {"better", "not better", "worse"}
    monkeypatch.setattr(Workshop, "validate", None)
    monkeypatch.setattr("rltemp.experiments.arena.work.evaluate_policy", None)
    assert run_arena(selection, str(tmp_path), store, Here(), NoProgress(), Leave()) == [first]


def test_values_of_the_recipe_are_read_as_they_are_typed() -> None:
    assert plugins._change("optimization.epochs=2") == ("optimization.epochs", 2)
    assert plugins._change("data.path=some/where") == ("data.path", "some/where")
    with pytest.raises(InputError, match=r"--set must read NAME=VALUE, got 'epochs'"):
        plugins._change("epochs")


def test_the_page_has_the_study_s_table() -> None:
    table = PAGE[PAGE.index("<!-- table fashion plugins -->") : PAGE.index("<!-- end of fashion plugins -->")]
    assert re.search(r"^\| KD \|", table, re.MULTILINE)
