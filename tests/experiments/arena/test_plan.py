"""Which work a cell asks for: no piece twice, controls for those that take more, single settings chosen elsewhere."""

import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltemp.errors import InputError
from rltemp.experiments.arena.outcome import CellOutcome
from rltemp.experiments.arena.plan import CellPlan, Planned, _longer, _wider, others_of, waves
from rltemp.experiments.arena.run import _pretend, all_work, weight
from rltemp.experiments.arena.selection import Selection
from rltemp.experiments.arena.singles import choose_single
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.arena.work import Learn, Measure, Search, Work
from rltemp.experiments.arena.workshop import read_recipe
from rltemp.experiments.evaluation.specs import trained_policy
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.experiments.tuning.search import Found, Trial
from rltemp.experiments.tuning.spaces import RULES, SCHEDULE, SPREAD, STATIC, find_space
from rltemp.presets import list_presets
from rltemp.recipes import Recipe, change_recipe

TASKS = ("a", "b", "c")


def plans_of(selection: Selection, results: Callable[[Work], dict[str, Any]] = _pretend) -> list[CellPlan]:
    return [CellPlan(selection, cell, results) for cell in selection.cells]


@pytest.fixture
def several(selection: Selection, arena_recipe: Recipe) -> Selection:
    """Three tasks, told apart by their splits, under two conditions at two lengths."""
    tasks = {
        name: NamedRecipe(name, change_recipe(arena_recipe, {"data.split_seed": seed}))
        for seed, name in enumerate(TASKS)
    }
    return dataclasses.replace(selection, tasks=tasks, conditions=("clean", "noise30"), budgets=(1, 2), trained=())


def test_work_that_cells_share_is_asked_for_once(several: Selection, arena_recipe: Recipe) -> None:
    """The second task is the first with wrong labels, the third is the first."""
    same = NamedRecipe("c", arena_recipe)
    noisy = NamedRecipe("b", change_recipe(arena_recipe, {"data.label_noise": 0.3}))
    shared = dataclasses.replace(several, tasks={"a": same, "b": noisy, "c": same})
    found = list(waves(shared, _pretend))
    for wave in found:
        assert len(set(wave)) == len(wave) == len({work.key for work in wave})
    # Two recipes at two lengths, of which the teachers are the same.
    assert [len(wave) for wave in found[:2]] == [2, 4]
    plans = plans_of(shared)
    assert {work for wave in found for work in wave} == {
        work
        for plan in plans
        for work in (
            plan.learn,
            plan.tuning,
            *plan.searches.values(),
            *(planned.work for planned in plan.measures(others_of(plan, plans))),
        )
    }


def test_what_is_counted_is_what_a_real_arena_does(
    selection: Selection, outcome: list[CellOutcome], arena_root: Path, tmp_path: Path
) -> None:
    store = ResultStore(arena_root / "work")
    done = {path.stem for path in store.folder.glob("*.json")}
    announced, afterwards = all_work(selection, ResultStore(tmp_path)), all_work(selection, store)
    assert len(done) == len(announced) == len(afterwards)
    for count in (weight, lambda work: work.runs, lambda work: type(work)):
        assert list(map(count, announced)) == list(map(count, afterwards))
    assert {work.key for work in afterwards} == done
    # Before a search is done, nobody knows what is measured.
    assert {work.key for work in announced} != done


def test_a_result_that_is_missing_is_the_only_one_left(
    selection: Selection, outcome: list[CellOutcome], arena_root: Path, tmp_path: Path
) -> None:
    whole, part = ResultStore(arena_root / "work"), ResultStore(tmp_path)
    works = all_work(selection, whole)
    for work in works[:-1]:
        found = whole.find(work.key)
        assert found is not None
        part.keep(work.key, found)
    assert [work for work in all_work(selection, part) if part.find(work.key) is None] == works[-1:]


def test_every_rule_and_published_method_is_there(selection: Selection) -> None:
    (plan,) = plans_of(selection)
    planned = plan.measures([])
    assert len({each.method for each in planned}) == len(planned)
    assert [each.method for each in planned if each.kind == "rule"] == [f"{rule.name}, tuned" for rule in RULES]
    presets = [each.method for each in planned if each.kind == "preset"]
    assert presets == [f"preset({name})" for name in list_presets() if "imagenet" not in name]
    assert [each.method for each in planned if each.kind == "trained"] == [spec.label for spec in selection.trained]
    assert [each.tuning_runs for each in planned if each.kind == "reference"] == [2 * (3 + 3)] * 2


def test_methods_that_are_not_asked_for_are_neither_searched_nor_measured(selection: Selection) -> None:
    (all_of_them,) = plans_of(selection)
    fewer = dataclasses.replace(selection, methods=("preset(dkd)", "dtkd"))
    (plan,) = plans_of(fewer)
    assert [each.method for each in plan.measures([]) if each.kind in ("rule", "preset")] == [
        "dtkd, tuned",
        "preset(dkd)",
    ]
    # What is left is the same work, with the same results.
    assert set(plan.searches.values()) <= set(all_of_them.searches.values())
    assert {each.work for each in plan.measures([])} < {each.work for each in all_of_them.measures([])}
    two = dataclasses.replace(fewer, methods=(), tasks={**fewer.tasks, "other": fewer.tasks["tiny"]})
    plans = plans_of(two)
    singles = [each.method for each in plans[0].measures(plans[1:]) if each.kind == "single"]
    assert singles == ["T = 4, T²", "one static for all tasks", "one schedule for all tasks"]


def test_all_but_controls_run_in_the_same_recipe(selection: Selection) -> None:
    """That which the search of the recipe came to."""

    def results(work: Work) -> dict[str, Any]:
        found = _pretend(work)
        if isinstance(work, Search) and work.space == "recipe":
            found["trials"][1]["accuracy"] = 0.5
        return found

    (plan,) = plans_of(selection, results)
    changes = find_space("recipe", plan.recipe).changes(find_space("recipe", plan.recipe).starts[1])
    frozen = change_recipe(plan.recipe, changes)
    assert frozen != plan.recipe
    assert plan.frozen == frozen
    assert {read_recipe(search.recipe).optimization for search in plan.searches.values()} == {frozen.optimization}
    for each in plan.measures([]):
        assert (each.recipe == frozen) == (each.kind != "control")
        assert dataclasses.replace(read_recipe(each.work.recipe), agent=frozen.agent) == each.recipe


def compute(planned: Planned) -> float:
    """Of one student, by the counts of its updates and passes."""
    settings, images = planned.recipe.optimization, planned.recipe.data.train
    return planned.passes.total * settings.epochs * (images // settings.batch_size)


@pytest.mark.parametrize("budget", [1, 3])
@pytest.mark.parametrize("policies", [("fresh",), ("fresh", "rltemp/digits"), ("rltemp/digits",)])
def test_controls_are_there_for_policies_that_take_more(
    selection: Selection, arena_root: Path, policies: tuple[str, ...], budget: int
) -> None:
    paths = [str(arena_root / name) if name == "fresh" else name for name in policies]
    (plan,) = plans_of(dataclasses.replace(selection, trained=tuple(map(trained_policy, paths)), budgets=(budget,)))
    planned = plan.measures([])
    reference, *_ = (each for each in planned if each.kind == "reference")
    greedy = [each for each in planned if each.kind == "trained" and each.passes.total > reference.passes.total]
    controls = [each for each in planned if each.kind == "control"]
    assert len(greedy) == policies.count("rltemp/digits")
    assert [each.reads_probe for each in controls] == [True, False, False][: 3 * len(greedy)]
    assert ("probe" in plan.searches) == bool(greedy)
    for each, words in zip(controls[1:], ("updates", "batch"), strict=len(greedy) == 1):
        factor = greedy[0].passes.total / reference.passes.total
        assert factor == pytest.approx(104 / 24)
        assert each.method == f"static, tuned, {factor:.1f} times the {words}"
        assert compute(each) >= 0.95 * compute(greedy[0])
        assert each.spec.name == reference.spec.name
        assert each.tuning_runs == reference.tuning_runs
    if greedy:
        informed, longer, wider = controls
        assert informed.recipe.optimization.probe_weight > 0
        frozen = plan.frozen.optimization
        assert longer.recipe.optimization == dataclasses.replace(frozen, epochs=-(-104 * budget // 24))
        assert wider.recipe.optimization.batch_size == 35  # 8 * 104 / 24, rounded up


@given(
    factor=st.floats(1.05, 40.0),
    epochs=st.integers(1, 60),
    batch=st.integers(1, 64),
    batches=st.floats(1.0, 20.0),
)
def test_longer_and_wider_runs_make_enough_passes(factor: float, epochs: int, batch: int, batches: float) -> None:
    """Of a static temperature's, whose passes are in proportion to the instances that it meets."""
    changes = {"data.train": int(batch * batches), "optimization.batch_size": batch, "optimization.epochs": epochs}
    recipe = change_recipe(Recipe(), changes)

    def met(recipe: Recipe) -> int:
        settings = recipe.optimization
        assert settings.batch_size <= recipe.data.train
        return settings.epochs * (recipe.data.train // settings.batch_size) * settings.batch_size

    longer, wider = _longer(recipe, factor), _wider(recipe, factor)
    for control in (longer, wider):
        assert met(control) >= 0.95 * factor * met(recipe)
    assert longer.optimization.batch_size == batch
    assert met(longer) < (factor + 1 / epochs) * met(recipe) + 1e-6
    few = recipe.data.train < factor * batch
    assert wider.optimization.batch_size == (recipe.data.train if few else pytest.approx(factor * batch, abs=1))


def test_a_policy_that_needs_a_probe_which_the_recipe_does_not_give_is_refused_before_any_work(
    selection: Selection, arena_recipe: Recipe, tmp_path: Path
) -> None:
    without = NamedRecipe("tiny", change_recipe(arena_recipe, {"policy.alignment": "none"}))
    with pytest.raises(InputError, match=r"policy\.alignment must be"):
        all_work(dataclasses.replace(selection, tasks={"tiny": without}), ResultStore(tmp_path))


def drawn(seeds: dict[tuple[str, str, int], int]) -> Callable[[Work], dict[str, Any]]:
    """Made-up searches: what one finds is drawn by the seed of its task, condition and budget."""

    def results(work: Work) -> dict[str, Any]:
        assert isinstance(work, Search)
        recipe = read_recipe(work.recipe)
        cell = (
            TASKS[recipe.data.split_seed],
            "noise30" if recipe.data.label_noise else "clean",
            recipe.optimization.epochs,
        )
        rng = np.random.default_rng([seeds.get(cell, 0), zlib.crc32(repr((cell, work.space)).encode())])
        space = find_space(work.space, recipe)
        trials = [
            Trial(space.policy(start), space.changes(start), float(rng.uniform()), 1.0)
            for start in space.starts[: work.trials]
        ]
        return {"trials": [dataclasses.asdict(trial) for trial in trials]}

    return results


def singles(selection: Selection, seeds: dict[tuple[str, str, int], int]) -> dict[tuple[str, str, int], list[str]]:
    plans = plans_of(selection, drawn(seeds))
    return {
        (plan.cell.task, plan.cell.condition, plan.cell.budget): [
            each.work.policy
            for each in plan.measures(others_of(plan, plans))
            if each.kind == "single" and each.method.startswith("one ")
        ]
        for plan in plans
    }


def test_a_tasks_own_results_never_change_its_single_settings(several: Selection) -> None:
    # Of eight starts, all are tried; a choice among two would often stay by chance.
    several = dataclasses.replace(several, trials=24)
    before = singles(several, {})
    assert all(len(policies) == 3 for policies in before.values())
    cells = list(before)
    for task in TASKS:
        other = singles(several, {cell: 1 for cell in cells if cell[0] == task})
        changed = {cell for cell in cells if other[cell] != before[cell]}
        assert changed
        assert all(cell[0] != task for cell in changed)
    # Other lengths are other questions, conditions are not.
    of_length = singles(several, {cell: 1 for cell in cells if cell[2] == 2})
    assert {cell[2] for cell in cells if of_length[cell] != before[cell]} == {2}
    noisy = singles(several, {cell: 1 for cell in cells if cell[1] == "noise30"})
    assert any(noisy[cell] != before[cell] for cell in cells if cell[1] == "clean")


def test_the_single_setting_is_best_on_average_over_cells() -> None:
    def found(*accuracies: float) -> Found:
        return Found(tuple(Trial("?", {}, accuracy, 1.0) for accuracy in accuracies))

    starts = [STATIC.policy(start) for start in STATIC.starts]
    assert choose_single(STATIC, [found(0.1, 0.9, 0.5), found(0.9, 0.2, 0.7)]) == starts[2]
    # Not every search got as far, and later trials are of one task alone.
    assert choose_single(STATIC, [found(0.1, 0.9, 0.99), found(0.9, 0.2)]) == starts[1]
    beyond = [0.0] * 8 + [1.0]
    assert choose_single(STATIC, [found(*beyond)]) == starts[0]
    assert choose_single(STATIC, [found(0.5, 0.5)]) == starts[0]


def test_one_task_has_no_setting_of_other_tasks(selection: Selection) -> None:
    several = dataclasses.replace(selection, conditions=("clean", "noise15"), budgets=(1, 2))
    plans = plans_of(several)
    for plan in plans:
        assert others_of(plan, plans) == []
        methods = [each.method for each in plan.measures([]) if each.kind == "single"]
        assert methods == ["T = 4, T²"]


def test_teachers_are_asked_for_once_for_all_lengths(several: Selection) -> None:
    learns, tunings, searches, measures = waves(several, _pretend)
    assert {type(work) for work in learns} == {Learn}
    assert len(learns) == 3 * 2
    assert len(tunings) == 3 * 2 * 2
    assert len(searches) == len(tunings) * (2 + len(RULES))
    assert all(isinstance(work, Measure) and work.students == 32 for work in measures)
    trials = {work.space: work.trials for work in searches if isinstance(work, Search)}
    assert trials == {STATIC.name: 3, SCHEDULE.name: 3, **{rule.name: 1 for rule in RULES}, SPREAD.name: 1}
