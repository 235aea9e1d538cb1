"""One run that reuses a policy, or whose agent learns in it: what it leaves behind, epoch by epoch and at the end."""

import dataclasses
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from rltemp.distillation import Task
from rltemp.errors import InputError
from rltemp.experiments.commands import distill_command
from rltemp.experiments.commands.distill_command import distill
from rltemp.experiments.evaluation.agent_specs import parse_agent
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.experiments.run_folder import RunFolder
from rltemp.networks import Execution
from rltemp.recipes import Recipe


@pytest.mark.parametrize("stacked", [True, False])
def test_the_last_epoch_counts_and_the_best_stands_beside_it(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, stacked: bool
) -> None:
    optimization = dataclasses.replace(tiny_task.optimization, epochs=4, lr=0.5)
    task = dataclasses.replace(
        tiny_task, optimization=optimization, stacked=stacked, execution=Execution(channels_last=not stacked)
    )
    recipe = dataclasses.replace(tiny_recipe, optimization=optimization)
    result = distill(NamedRecipe("tiny", recipe), parse_policy("static"), 3, str(tmp_path), "run", task)
    accuracies = RunFolder(result.folder).read_metrics()["test_accuracy"].tolist()
    scores = json.loads((result.folder / "scores.json").read_text())
    assert len(accuracies) == 4
    assert scores["accuracy"] == accuracies[-1] == float(result.test.accuracy)
    assert scores["best_epoch_accuracy"] == max(accuracies)
    weights = load_file(result.folder / "student.safetensors")
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in task.students([0]).extract(0).state_dict().items()
    }


def test_a_run_whose_checkpoint_is_damaged_is_refused_and_begins_anew_without_it(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimization = dataclasses.replace(tiny_task.optimization, epochs=2)
    task = dataclasses.replace(tiny_task, optimization=optimization)
    recipe = NamedRecipe("tiny", dataclasses.replace(tiny_recipe, optimization=optimization))
    whole = distill(recipe, parse_policy("static"), 3, str(tmp_path), "whole", task)
    epoch = distill_command._epoch

    def interrupted(*arguments: object) -> None:
        epoch(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(distill_command, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(recipe, parse_policy("static"), 3, str(tmp_path), "run", task)
    monkeypatch.undo()
    checkpoint = tmp_path / "tiny" / "run" / "checkpoints" / "run.pt"
    for damaged in (b"", checkpoint.read_bytes()[:-100], b"PK" + checkpoint.read_bytes()):
        checkpoint.write_bytes(damaged)
        with pytest.raises(InputError, match=r"checkpoints/run\.pt must be a checkpoint of this run, .* remove it"):
            distill(recipe, parse_policy("static"), 3, str(tmp_path), "run", task)
    checkpoint.unlink()
    again = distill(recipe, parse_policy("static"), 3, str(tmp_path), "run", task)
    for name in ("metrics.csv", "student.safetensors", "scores.json"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()


@pytest.mark.parametrize("agent", ["rlkd(every=0.5, hidden=(8,))", "rlkd-as-released(hidden=(8,))"])
def test_an_agent_s_run_killed_after_any_epoch_ends_as_an_unbroken_one(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: str
) -> None:
    optimization = dataclasses.replace(tiny_task.optimization, epochs=3)
    task = dataclasses.replace(tiny_task, optimization=optimization)
    recipe = NamedRecipe("tiny", dataclasses.replace(tiny_recipe, optimization=optimization))
    whole = distill(recipe, parse_agent(agent), 3, str(tmp_path), "whole", task)
    epoch = distill_command._epoch

    def interrupted(*arguments: object) -> None:
        epoch(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(distill_command, "_epoch", interrupted)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            distill(recipe, parse_agent(agent), 3, str(tmp_path), "run", task)
    monkeypatch.undo()
    again = distill(recipe, parse_agent(agent), 3, str(tmp_path), "run", task)
    for name in ("metrics.csv", "student.safetensors", "scores.json"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert (whole.folder / "policy").exists() == agent.startswith("rlkd(")


def test_what_an_agent_learned_is_a_policy_for_another_run(
    tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path
) -> None:
    optimization = dataclasses.replace(tiny_task.optimization, epochs=2)
    task = dataclasses.replace(tiny_task, optimization=optimization)
    recipe = NamedRecipe("tiny", dataclasses.replace(tiny_recipe, optimization=optimization))
    found = distill(recipe, parse_agent("rlkd"), 3, str(tmp_path), "found", task)
    policy = parse_policy(str(found.folder / "policy"))
    assert policy.make(0).needs == {"targets"}
    result = distill(recipe, policy, 4, str(tmp_path), "reused", task)
    assert RunFolder(result.folder).read_metrics()["temperature_50"].min() >= 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rlkd2", "^agent must be one of rlkd, rlkd-as-released, got 'rlkd2'$"),
        ("rlkd(every)", r"^options must read name=value, got 'every' in 'rlkd\(every\)'$"),
        ("rlkd(low=0)", r"^low must lie in \[0\.001, 1e\+06\], got 0$"),
    ],
)
def test_agents_that_there_are_not_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_agent(text)
