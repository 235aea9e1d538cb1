"""A piece of work is known by all that its result depends on, and by nothing else."""

import dataclasses
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rltemp.agents import AGENTS
from rltemp.distillation import Task, score
from rltemp.experiments.arena.work import FIRST_MEASURED, Learn, Measure, Search, Work
from rltemp.experiments.arena.workshop import Workshop, read_recipe
from rltemp.experiments.engines import Leave, Workplace
from rltemp.experiments.evaluation import contenders
from rltemp.experiments.evaluation.agent_specs import parse_agent
from rltemp.experiments.evaluation.contenders import parse_contender
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.results import METRICS
from rltemp.experiments.evaluation.results_files import restore_result
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.evaluation.task_cache import TaskCache
from rltemp.progress import NoProgress
from rltemp.recipes import Recipe, change_recipe, dump_recipe, load_recipe

WORKS: tuple[Work, ...] = (
    Learn("a: 1\n"),
    Search("a: 1\n", "static", 24, 20),
    Measure("a: 1\n", "dtkd", "dtkd", 32),
)


def changed(work: Work) -> list[Work]:
    """The same with each field changed in turn."""
    others = []
    for field in dataclasses.fields(work):
        value = getattr(work, field.name)
        others.append(dataclasses.replace(work, **{field.name: value + (1 if isinstance(value, int) else " ")}))
    return others


def test_keys_are_what_they_always_were() -> None:
    """Results of earlier runs are found by them: these never change, unless `_VERSION` does."""
    assert [work.key for work in WORKS] == [
        "6ce8a5aa530da0e858a18b8f",
        "cb69e28c3d11d7ab9c372ff1",
        "02bb52cbb546492329fd26c4",
    ]


def test_the_recipes_of_the_suite_are_written_as_they_always_were() -> None:
    """The text is part of every key."""
    recipe = load_recipe("arena-digits")
    assert Learn(dump_recipe(recipe, agent=False)).key == "e4987b1ec694cdd18b320fb9"


def test_settings_of_features_are_part_of_a_key_where_there_are_features() -> None:
    recipe = load_recipe("arena-digits")
    texts = [
        dump_recipe(change_recipe(recipe, {"optimization": changes}), agent=False)
        for changes in ({}, {"negatives": 3, "features_weight": 2.0}, {"features": "pkt"}, {"features": "crd"})
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    assert read_recipe(texts[2]).optimization.features == "pkt"


@pytest.mark.parametrize("work", WORKS, ids=lambda work: type(work).__name__)
def test_every_field_is_part_of_the_key(work: Work) -> None:
    family = [work, *changed(work)]
    assert len({each.key for each in family}) == 1 + len(dataclasses.fields(work))
    assert dataclasses.replace(work).key == work.key


def test_kinds_of_work_have_keys_of_their_own() -> None:
    assert len({work.key for work in itertools.chain(WORKS, *map(changed, WORKS))}) == 2 + 5 + 5


def test_keys_are_the_same_in_every_process_and_folder(tmp_path: Path) -> None:
    code = (
        "from rltemp.experiments.arena.work import Learn, Measure\n"
        "from rltemp.recipes import dump_recipe, load_recipe\n"
        "text = dump_recipe(load_recipe('arena-fashion'), agent=False)\n"
        "print(Learn(text).key, Measure(text, 'dtkd', 'dtkd', 3).key)"
    )
    text = dump_recipe(load_recipe("arena-fashion"), agent=False)
    expected = f"{Learn(text).key} {Measure(text, 'dtkd', 'dtkd', 3).key}\n"
    environment = {**os.environ, "PYTHONHASHSEED": "3", "HOME": str(tmp_path), "LC_ALL": "C"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == expected


def test_how_an_agent_learns_is_no_part_of_a_piece_of_work(tiny_recipe: Recipe) -> None:
    other = change_recipe(tiny_recipe, {"agent.rollouts": 99, "agent.seed": 3})
    assert dump_recipe(other, agent=False) == dump_recipe(tiny_recipe, agent=False)


def test_runs_and_updates_by_hand(tiny_recipe: Recipe) -> None:
    text = dump_recipe(change_recipe(tiny_recipe, {"optimization.epochs": 3}), agent=False)
    # 64 images in batches of 8, three times: 24 updates of each student.
    works = Learn(text), Search(text, "static", 5, 4), Measure(text, "dtkd", "dtkd", 7)
    assert [(work.runs, work.updates) for work in works] == [(0, 0), (20, 480), (7, 168)]
    assert [work.describe() for work in works] == [
        "digits, 3 epochs: teacher",
        "digits, 3 epochs: search of static",
        "digits, 3 epochs: dtkd",
    ]


@pytest.mark.parametrize("stacked", [True, False])
def test_what_is_measured_is_what_students_reach_that_nobody_saw_before(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, stacked: bool
) -> None:
    task = dataclasses.replace(tiny_task, stacked=stacked)
    workshop = Workshop(Workplace(tmp_path, Leave()), tmp_path)
    workshop.tasks = TaskCache(lambda recipe: task)
    text = dump_recipe(tiny_recipe, agent=False)
    found: dict[str, Any] = Measure(text, "random", "random", 3).do(workshop)
    assert found.pop("reads_held_out_labels") is False
    result = restore_result(found)
    seeds = range(FIRST_MEASURED, FIRST_MEASURED + 3)
    for index, seed in enumerate(seeds):
        alone = evaluate_policy(tiny_recipe, task, parse_policy("random"), [seed], task.teacher, NoProgress())
        for metric in METRICS:
            assert getattr(result, metric)[index] == pytest.approx(getattr(alone, metric)[0], rel=1e-3, abs=1e-3)
    assert result.trace is None


def test_a_recipe_is_read_as_it_was_written(tiny_recipe: Recipe) -> None:
    back = read_recipe(dump_recipe(tiny_recipe, agent=False))
    assert dataclasses.replace(back, agent=tiny_recipe.agent) == tiny_recipe


def test_an_agent_is_searched_and_measured_student_by_student(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path
) -> None:
    workshop = Workshop(Workplace(tmp_path, Leave()), tmp_path)
    workshop.tasks = TaskCache(lambda recipe: tiny_task)
    text = dump_recipe(tiny_recipe, agent=False)
    trials = Search(text, "rlkd", 1, 1).do(workshop)["trials"]
    assert [trial["policy"] for trial in trials] == ["rlkd(warmup=0, kd_weight=0.9)"]
    policy = "rlkd(warmup=0, kd_weight=2, hidden=[4])"
    found: dict[str, Any] = Measure(text, policy, policy, 2).do(workshop)
    assert found.pop("reads_held_out_labels") is False
    result = restore_result(found)
    for index in (0, 1):
        run = parse_agent(policy).start(tiny_task, [FIRST_MEASURED + index], tiny_recipe.policy)
        assert run.run.method.kd_weight == 2.0
        while not run.run.finished:
            run.advance()
        assert result.accuracy[index] == score(run.run.students, tiny_task.test, tiny_task.augmentation).accuracy


def test_an_agent_s_passes_are_those_of_its_reward(tiny_recipe: Recipe) -> None:
    longer = change_recipe(tiny_recipe, {"optimization.epochs": 4})
    static, agent = parse_policy("static").passes(longer), parse_agent("rlkd(every=0.5)").passes(longer)
    # One epoch of warm-up, then learning, acting, learning: of 50 validation images each, half of the time.
    assert dataclasses.replace(agent, probe_forward=0.0) == static
    assert agent.probe_forward == 25.0


def test_agents_are_told_from_rules_by_their_names() -> None:
    assert set(contenders._AGENTS) == set(AGENTS)
    assert [parse_contender(name).name for name in AGENTS] == list(AGENTS)
    assert parse_contender("static(temperature=2)").name == "static(temperature=2)"
