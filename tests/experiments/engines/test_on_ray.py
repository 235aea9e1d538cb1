"""Two machines find what one process does; one that is lost costs what it was at, and no mistake is silent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from rltemp.agents import train_policy
from rltemp.distillation import Task
from rltemp.envs.split import SplitVectorEnv
from rltemp.experiments.commands.evaluate_command import run_comparison
from rltemp.experiments.commands.train_seeds import train_seeds
from rltemp.experiments.commands.tune_command import tune
from rltemp.experiments.engines import Engine, Here, Leave, Team
from rltemp.experiments.engines.on_ray import OnRay
from rltemp.experiments.engines.rollouts import hiring
from rltemp.experiments.evaluation.results import METRICS
from rltemp.experiments.evaluation.results_files import load_evaluation
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.recipes import Recipe, change_recipe
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("cluster")


prepare: Any = partial({"eval": eval}.get, "eval")
"""Makes a worker that evaluates expressions; of this module workers know nothing."""


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with OnRay().team(prepare, str(tmp_path), Leave()) as team:
        yield team


def test_units_are_done_on_both_machines(team: Team, tmp_path: Path) -> None:
    """Each waits until the other has begun."""
    here = f"__import__('pathlib').Path({str(tmp_path)!r})"
    wait = f"[__import__('time').sleep(0.05) for _ in iter(lambda: len(list({here}.glob('*.begun'))), 2)]"
    node = "__import__('ray').get_runtime_context().get_node_id()"
    units = [f"[({here} / '{number}.begun').touch(), {wait}, {node}][-1]" for number in range(2)]
    done = [result for _, result in team.results(units)]
    assert len(set(done)) == 2


def test_a_unit_that_always_fails_is_told_with_its_reason_and_costs_no_other(team: Team) -> None:
    units = ["1", "1 / 0", "__import__('os')._exit(1)", "2"]
    done = dict(team.results(units))
    assert (done["1"], done["2"]) == (1, 2)
    assert done[units[1]].reason == "ZeroDivisionError: division by zero"
    assert isinstance(done[units[1]].error, ZeroDivisionError)
    assert "4 processes each died of it" in done[units[2]].reason
    assert done[units[2]].error is None


def test_a_machine_that_is_lost_costs_only_what_it_was_at(cluster: Any, team: Team, tmp_path: Path) -> None:
    """The unit that ran there is done again elsewhere, and nothing that had come home is."""
    lost = cluster.add_node(**cluster.machine())
    log, there = tmp_path / "log", tmp_path / "there"
    node = "__import__('ray').get_runtime_context().get_node_id()"
    path, pause = f"__import__('pathlib').Path({str(there)!r})", "__import__('time').sleep"
    lose = f"[{path}.touch(), {pause}(600)]"
    wait = f"[{pause}(0.05) for _ in iter({path}.exists, True)]"
    stay = f"{lose} if {node} == {lost.node_id!r} else {wait}"
    units = [f"[open({str(log)!r}, 'a').write('{number}\\n'), {stay}, {number} ** 2][-1]" for number in range(6)]
    results: dict[str, int] = {}
    for unit, result in team.results(units):
        if not results:
            cluster.remove_node(lost, allow_graceful=False)
        results[unit] = result
    assert [results[unit] for unit in units] == [number**2 for number in range(6)]
    begun = log.read_text().split()
    assert set(begun) == set(map(str, range(6)))
    assert len(begun) == 7


def test_ctrl_c_ends_the_command_with_one_line_and_leaves_the_cluster_idle(cluster: Any, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    small = ["--students=2", "--no-references", "--policy=static", "--teacher.epochs=1", "--teacher.members=1"]
    endless = ["--data.train=64", "--optimization.epochs=99999", "--engine=ray"]
    command = [sys.executable, "-m", "rltemp.experiments", "evaluate", "digits-short", *small, *endless]
    options: Any = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | {"RAY_ADDRESS": cluster.address}, **options) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("policies"):
                break
        wait_for(lambda: ray.available_resources().get("CPU", 0) < 2)  # a unit has begun
        run.send_signal(signal.SIGINT)
        rest = run.stderr.read()
    assert rest == "rltemp: interrupted; the same command goes on where it stopped\n"
    assert run.returncode == 130
    wait_for(lambda: ray.available_resources().get("CPU", 0) == 2)


def test_an_evaluation_is_that_of_one_process(tiny_recipe: Recipe, tiny_task: Task, tmp_path: Path) -> None:
    def found(engine: Engine) -> dict[str, list[bytes]]:
        root = tmp_path / type(engine).__name__
        setting = NamedRecipe("tiny", tiny_recipe)
        specs = parse_policies("static(temperature=2),random,ctkd")
        run_comparison(setting, None, specs, (3, 8), str(root), "evaluation", engine=engine)
        results = load_evaluation(root / "tiny" / "evaluation").results
        return {result.name: [getattr(result, metric).tobytes() for metric in METRICS] for result in results}

    assert found(OnRay()) == found(Here())


def test_a_search_is_that_of_one_process(tiny_recipe: Recipe, tmp_path: Path) -> None:
    def found(engine: Engine) -> bytes:
        setting = NamedRecipe("tiny", tiny_recipe)
        return tune(setting, 2, 2, str(tmp_path / type(engine).__name__), "tune", engine).read_bytes()

    assert found(OnRay()) == found(Here())


def test_trainings_are_those_of_one_process_and_those_that_fail_cost_no_other(
    tiny_recipe: Recipe, tmp_path: Path
) -> None:
    small = {"agent.students": 2, "agent.rollouts": 2, "agent.hidden": [4]}
    setting = NamedRecipe("tiny", change_recipe(tiny_recipe, small))

    def found(engine: Engine) -> list[bytes]:
        root = tmp_path / type(engine).__name__
        trained = train_seeds(setting, (0, 7), str(root), "train", engine)
        assert {path.name for path in trained[0].parent.iterdir()} >= {"config.yaml", "finished", "checkpoint.pt"}
        return [(path / "policy.safetensors").read_bytes() for path in trained]

    one, other = found(OnRay())
    assert [one, other] == found(Here())
    assert one != other


def test_a_training_whose_students_are_shared_out_is_that_of_one_process(tiny_recipe: Recipe, tiny_task: Task) -> None:
    recipe = change_recipe(
        tiny_recipe, {"agent.students": 4, "agent.stack": 2, "agent.rollouts": 1, "agent.hidden": [4]}
    )
    with hiring(OnRay()) as hire:
        split = partial(SplitVectorEnv, workers=2, hire=hire)
        one = train_policy(recipe, task=[tiny_task], make_env=split).state_dict()
    other = train_policy(recipe, task=[tiny_task]).state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
