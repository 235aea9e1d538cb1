"""A comparison is the same however it is cut, interrupted and spread over processes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F
from torch import Tensor

from rltemp.distillation import Task
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.teacher import Teacher
from rltemp.errors import InputError
from rltemp.experiments.commands import evaluate_command as module
from rltemp.experiments.commands.evaluate_command import run_comparison
from rltemp.experiments.engines import Processes
from rltemp.experiments.evaluation.evaluate_policy import evaluate_policy
from rltemp.experiments.evaluation.results import METRICS
from rltemp.experiments.evaluation.results_files import load_evaluation
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.experiments.evaluation.workers import Worker
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.progress import NoProgress
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
    assert _compare(tiny_recipe, task, tmp_path, SPECS[:2], engine=Processes(2)) == alone


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

    def interrupted(self: Worker, unit: Any) -> Any:
        if len(ran) == 4:
            raise KeyboardInterrupt
        ran.append((unit.spec.name, unit.seeds))
        return run(self, unit)

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
    monkeypatch.setattr(Worker, "run", lambda self, unit: _fail_for(unit.spec.name))
    with pytest.raises(RuntimeError, match=r"^2 of the units of work failed \(random"):
        _compare(tiny_recipe, tiny_task, tmp_path)
    (result,) = load_evaluation(tmp_path / "tiny" / "evaluation").results
    assert result.name == SPECS[0].name


def test_the_teacher_is_asked_about_the_test_images_once(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = dataclasses.replace(tiny_task, stacked=False)
    asked: list[int] = []
    forward = type(task.teacher).forward

    def listen(self: Teacher, images: Tensor) -> Tensor:
        asked.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Teacher, "forward", listen)
    monkeypatch.setattr(task.teacher, "answer", lambda step, minibatch: task.teacher.network(minibatch.images[0])[None])
    _compare(tiny_recipe, task, tmp_path, SPECS[:2])
    assert sum(asked) == len(task.test)


def test_fidelity_is_that_of_the_students_that_were_trained(tiny_recipe: Recipe, tiny_task: Task) -> None:
    result = evaluate_policy(tiny_recipe, tiny_task, SPECS[0], SEEDS, tiny_task.teacher, NoProgress())
    whole = PolicyRun(tiny_task, [SPECS[0].make(seed) for seed in SEEDS], SEEDS, tiny_recipe.policy)
    while not whole.run.finished:
        whole.advance()
    images = tiny_task.augmentation.clean(tiny_task.test.images)
    taught = tiny_task.teacher(images).double()
    for k in range(len(SEEDS)):
        own = whole.run.students.extract(k).eval()(images).detach().double()
        assert result.agreement[k] == (own.argmax(1) == taught.argmax(1)).double().mean()
        expected = F.kl_div(own.log_softmax(1), taught.log_softmax(1), reduction="batchmean", log_target=True)
        assert result.divergence[k] == pytest.approx(float(expected), rel=1e-5)


def test_the_teachers_scores_are_kept_and_told(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _compare(tiny_recipe, tiny_task, tmp_path, SPECS[:1])
    folder = tmp_path / "tiny" / "evaluation"
    teacher = load_evaluation(folder).teacher
    assert teacher is not None
    logits = tiny_task.teacher(tiny_task.augmentation.clean(tiny_task.test.images)).double()
    assert teacher.accuracy == (logits.argmax(1) == tiny_task.test.targets).double().mean()
    assert teacher.nll == pytest.approx(float(F.cross_entropy(logits, tiny_task.test.targets)), rel=1e-6)
    line = f"The teacher: accuracy {100 * teacher.accuracy:.2f} %"
    for text in (capsys.readouterr().out, *((folder / name).read_text() for name in ("table.md", "report.html"))):
        assert line in text


def test_an_evaluation_of_an_earlier_version_is_extended(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _compare(tiny_recipe, tiny_task, tmp_path, SPECS[:1])
    folder = tmp_path / "tiny" / "evaluation"
    whole = json.loads((folder / "evaluation.json").read_text())
    del whole["teacher"]
    for policy in whole["policies"]:
        del policy["metrics"]["agreement"], policy["metrics"]["divergence"]
    (folder / "evaluation.json").write_text(json.dumps({**whole, "format": 2}))
    metrics = _compare(tiny_recipe, tiny_task, tmp_path, SPECS[:2])
    old, new = (metrics[spec.name] for spec in SPECS[:2])
    assert np.isnan(old["agreement"]).all()
    assert np.isfinite(new["divergence"]).all()
    assert load_evaluation(folder).teacher is not None


def test_without_distillation_no_temperature_is_shown(tiny_recipe: Recipe, tiny_task: Task) -> None:
    (spec,) = parse_policies("no-kd")
    result = evaluate_policy(tiny_recipe, tiny_task, spec, SEEDS, tiny_task.teacher, NoProgress())
    assert result.trace is None
    optimization = dataclasses.replace(tiny_task.optimization, ce_weight=1.0, kd_weight=0.0)
    task = dataclasses.replace(tiny_task, optimization=optimization)
    same = evaluate_policy(tiny_recipe, task, SPECS[0], SEEDS, tiny_task.teacher, NoProgress())
    assert same.nll.tolist() == result.nll.tolist()


def _fail_for(name: str) -> None:
    raise AssertionError(name)
