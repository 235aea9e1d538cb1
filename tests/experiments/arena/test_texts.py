"""Texts are judged in bits per character, from the search of a setting to the table."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rltemp import InputError
from rltemp.agents import train_policy
from rltemp.experiments.arena.conditions import under_condition
from rltemp.experiments.arena.entries import Entry
from rltemp.experiments.arena.freshness import cut_alike, runs_spent_on, shared_images, training_recipes
from rltemp.experiments.arena.judge import judge
from rltemp.experiments.arena.outcome import ArenaOutcome, Cell, CellOutcome
from rltemp.experiments.arena.run import run_arena
from rltemp.experiments.arena.selection import Selection, find_tasks
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.engines import Here, Leave
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.experiments.report.arena_csv import arena_csv
from rltemp.experiments.report.arena_tables import DASH, cell_to_markdown, is_diverged
from rltemp.experiments.tuning.search import Found, Trial, best_static
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.progress import NoProgress
from rltemp.recipes import change_recipe, load_recipe

TINY = {
    "data": {"context": 6, "train": 16, "validation": 8},
    "teacher": {"network": {"options": {"width": 8, "layers": 1, "heads": 2}}, "train": None, "epochs": 1},
    "student": {"options": {"width": 4, "layers": 1, "heads": 2}},
}


def test_the_best_setting_is_that_of_the_fewest_bits() -> None:
    trials = (Trial("sure", {}, 0.6, 2.0), Trial("right", {}, 0.5, 1.0))
    assert Found(trials).best.policy == "sure"
    assert Found(trials, "bits").best.policy == "right"
    recipe = Found((Trial("usual", {"optimization.lr": 1.0}, 0.1, 0.9),), "bits")
    assert best_static(Found(trials, "bits"), recipe).policy == "usual"
    assert trials[1].score("bits") == pytest.approx(-1 / math.log(2))


def test_rulings_and_regrets_are_of_bits(make_entry: Callable[..., Entry]) -> None:
    rng = np.random.default_rng(0)
    noise = 0.001 * rng.normal(size=8)

    def entry(method: str, kind: str, nll: float, accuracy: float) -> Entry:
        made = make_entry(method, kind, accuracy, students=8)
        (result,) = made.results
        values = nll + noise
        return dataclasses.replace(made, results=(dataclasses.replace(result, nll=values, validation_nll=values),))

    entries = [
        entry("tuned", "reference", 2.0, 0.5),
        entry("a rule", "rule", 1.9, 0.3),
        entry("other", "rule", 2.2, 0.9),
    ]
    lines = {line.method: line for line in judge(entries, least=8, measure="bits")}
    assert {name: line.ruling for name, line in lines.items()} == {"tuned": "", "a rule": "better", "other": "worse"}
    assert lines["a rule"].regret is not None
    assert lines["a rule"].regret.mean == pytest.approx(-0.1 / math.log(2))
    assert lines["a rule"].bits is not None
    assert lines["a rule"].bits.mean == pytest.approx((1.9 + noise.mean()) / math.log(2))
    # In accuracy eight students are too few of those that stack.
    assert {line.ruling for line in judge(entries, least=32)} == {"", "withheld"}


def test_a_student_that_diverged_has_no_bits_to_compare(make_entry: Callable[..., Entry]) -> None:
    noise = 0.001 * np.random.default_rng(0).normal(size=8)

    def entry(method: str, kind: str, nll: float, worst: float | None = None) -> Entry:
        made = make_entry(method, kind, 0.5, students=8)
        values = nll + noise
        if worst is not None:
            values[3] = worst
        return dataclasses.replace(made, results=(dataclasses.replace(made.results[0], nll=values),))

    # On validation data, which chooses the yardstick, all are alike: without the first it is the second.
    broken, whole = entry("broken", "reference", 1.5, math.inf), entry("whole", "reference", 2.0)
    rules = [entry("good", "rule", 1.9), entry("bad", "rule", 2.1), entry("hopeless", "rule", 1.8, 2000.0)]
    lines = {line.method: line for line in judge([broken, whole, *rules], least=8, measure="bits")}
    rulings = {"broken": "", "whole": "", "good": "better", "bad": "worse", "hopeless": "diverged"}
    assert {name: line.ruling for name, line in lines.items()} == rulings
    assert lines["bad"].reasons == ("worse than whole",)
    assert lines["whole"].regret is None
    regret = lines["good"].regret
    assert regret is not None
    assert regret.mean == pytest.approx(-0.1 / math.log(2))
    assert {name for name, line in lines.items() if is_diverged(line)} == {"broken", "hopeless"}
    outcome = CellOutcome(Cell("text", "clean", 1), 1, 8, "", tuple(lines.values()), "bits")
    for name in ("broken", "hopeless"):
        row = next(line for line in cell_to_markdown(outcome).splitlines() if f"| {name} " in line)
        assert [part.strip() for part in row.split("|")][2:5:2] == ["\N{INFINITY}", DASH]
    (alone,) = (line for line in judge([broken, rules[0]], least=8, measure="bits") if line.method == "good")
    assert (alone.ruling, alone.reasons) == ("withheld", ("students of all its references diverged",))
    assert alone.regret is None


def test_an_arena_of_a_text(tmp_path: Path) -> None:
    recipe = load_recipe("arena-shakespeare", TINY)
    selection = Selection(
        tasks={"shakespeare": NamedRecipe("shakespeare", recipe)},
        conditions=("noise30",),
        budgets=(1,),
        methods=("adakd", "preset(akl)"),
        trained=(),
        students=2,
        trials=3,
        tuning_students=1,
    )
    (cell,) = run_arena(selection, str(tmp_path), ResultStore(tmp_path / "work"), Here(), NoProgress(), Leave())
    assert cell.measure == "bits"
    table = cell_to_markdown(cell)
    assert "| Method | Bits per character | Accuracy, % | Regret, 0.01 bit |" in table
    assert {"adakd, tuned", "preset(akl)", "static, tuned", "labels alone", "the teacher"} <= {
        line.method for line in cell.lines
    }
    for line in cell.lines:
        assert line.bits is not None
        assert line.bits.mean == pytest.approx(line.nll / math.log(2))
        assert 0.0 <= line.agreement <= 1.0
    reference = next(line for line in cell.lines if line.kind == "reference" and line.regret is None)
    other = next(line for line in cell.lines if line.kind == "rule")
    assert other.regret is not None
    assert reference.bits is not None
    assert other.bits is not None
    assert other.regret.mean == pytest.approx(other.bits.mean - reference.bits.mean)
    rows = arena_csv(ArenaOutcome((cell,), {}, "")).splitlines()
    assert rows[0].endswith(",measure")
    assert all(row.endswith(",bits") for row in rows[1:])


def test_a_policy_of_a_text_says_what_windows_it_saw(tmp_path: Path) -> None:
    agent = {"students": 2, "rollouts": 1, "hidden": (4,), "n_epochs": 1, "minibatches": 1}
    trained = load_recipe("shakespeare-agents", {**TINY, "agent": agent})
    policy = load_policy(save_policy(train_policy(trained), tmp_path / "policy"))
    recipes = training_recipes(policy)
    assert recipes is not None
    (recipe,) = recipes
    judged = load_recipe("arena-shakespeare", TINY)
    # About as many windows of six characters as the play has.
    source = {"images": 23_168, "own_test": True}
    assert cut_alike(recipe, judged)
    assert shared_images(recipe, judged, source) == 0
    assert shared_images(recipe, change_recipe(judged, {"data.pool": "agents"}), source) > 0
    assert runs_spent_on(policy, judged) == 2


def test_the_suite_has_texts_and_a_condition_for_them_alone() -> None:
    (task,) = find_tasks(["shakespeare"], "nowhere", allow_download=False, allow_code=False).values()
    other = under_condition(task.recipe, "other-corpus").teacher
    assert (other.source, other.path) == ("news-text", str(Path("data", "news")))
    news = change_recipe(task.recipe, {"data.name": "news-text", "data.path": "data/news"})
    assert under_condition(news, "other-corpus").teacher.source == "shakespeare"
    with pytest.raises(InputError, match=r"data\.name must be a text for 'other-corpus', got 'digits'"):
        under_condition(load_recipe("digits-short"), "other-corpus")
