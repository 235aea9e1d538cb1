"""A comparison is the same however it is cut, interrupted and spread over processes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.experiments.commands import evaluate_command as module
from rltemp.experiments.commands.evaluate_command import run_comparison
from rltemp.experiments.evaluation.results import METRICS
from rltemp.experiments.evaluation.results_files import load_evaluation
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.experiments.evaluation.workers import Worker
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.recipes import Recipe
from rltemp.tasks import build_task

SPECS = parse_policies("static(temperature=2),random,dtkd")
SEEDS = (3, 8)


def _compare(
    recipe: Recipe, task: Task, root: Path, specs: Any = SPECS, **options: Any
) -> dict[str, dict[str, list[float]]]:
    run_comparison(NamedRecipe("tiny", recipe), task, specs, SEEDS, str(root), "evaluation", **options)
    evaluation = load_evaluation(root / "tiny" / "evaluation")
    assert evaluation.seeds == SEEDS
    return {result.name: {m: getattr(result, m).tolist() for m in METRICS} for result in evaluation.results}


def test_several_processes_change_nothing(tiny_recipe: Recipe, tmp_path: Path) -> None:
    task = build_task(tiny_recipe, cache=tmp_path)
    assert list((tmp_path / "teachers").iterdir())
    alone = _compare(tiny_recipe, task, tmp_path, SPECS[:2])
    (tmp_path / "tiny" / "evaluation").rename(tmp_path / "before")
    assert _compare(tiny_recipe, task, tmp_path, SPECS[:2], processes=2) == alone


def test_students_one_by_one_are_the_students_side_by_side(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path
) -> None:
    together = _compare(tiny_recipe, tiny_task, tmp_path / "a")
    alone = _compare(tiny_recipe, dataclasses.replace(tiny_task, stacked=False), tmp_path / "b")
    for name, metrics in together.items():
        for metric, values in metrics.items():
            np.testing.assert_allclose(alone[name][metric], values, rtol=1e-3, atol=1e-3)


def test_how_an_agent_learns_is_nothing_to_a_comparison(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _compare(tiny_recipe, tiny_task, tmp_path, SPECS[:2])
    monkeypatch.setattr(Worker, "run", None)  # nothing is run again
    other = dataclasses.replace(tiny_recipe, agent=dataclasses.replace(tiny_recipe.agent, rollouts=99))
    assert _compare(other, tiny_task, tmp_path, SPECS[:2]) == before
    longer = dataclasses.replace(tiny_recipe, policy=dataclasses.replace(tiny_recipe.policy, every=2))
    with pytest.raises(InputError, match="started with another"):
        _compare(longer, tiny_task, tmp_path, SPECS[:2])


def test_an_interrupted_comparison_repeats_nothing(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = dataclasses.replace(tiny_task, stacked=False)
    expected = _compare(tiny_recipe, task, tmp_path / "whole")
    run = Worker.run
    ran: list[tuple[str, tuple[int, ...]]] = []

    def interrupted(self: Worker, unit: Any, display: Any) -> Any:
        if len(ran) == 4:
            raise KeyboardInterrupt
        ran.append((unit.spec.name, unit.seeds))
        return run(self, unit, display)

    monkeypatch.setattr(Worker, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _compare(tiny_recipe, task, tmp_path)
    first, ran = ran, []
    assert _compare(tiny_recipe, task, tmp_path) == expected
    assert len(ran) == 2
    assert not set(first) & set(ran)
    assert not any((tmp_path / "tiny" / "evaluation" / "parts").iterdir())


def test_a_part_is_forgotten_only_once_its_policy_is_saved(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_evaluation", full)
        with pytest.raises(OSError, match="disk full"):
            _compare(tiny_recipe, tiny_task, tmp_path)
    assert len(list((tmp_path / "tiny" / "evaluation" / "parts").iterdir())) == 1
    monkeypatch.setattr(Worker, "run", lambda self, unit, display: _fail_for(unit.spec.name))
    with pytest.raises(AssertionError, match="random"):
        _compare(tiny_recipe, tiny_task, tmp_path)
    (result,) = load_evaluation(tmp_path / "tiny" / "evaluation").results
    assert result.name == SPECS[0].name


def _fail_for(name: str) -> None:
    raise AssertionError(name)
