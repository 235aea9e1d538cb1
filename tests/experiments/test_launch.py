"""Several processes of a launcher: the commands of the page as they stand, one cut short, and what is refused."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from rltemp.distillation.ranks import Ranks, RefusedElsewhereError
from rltemp.errors import DivergenceError, InputError
from rltemp.experiments import launch
from rltemp.experiments.cli import main
from rltemp.experiments.commands import distill_command
from rltemp.experiments.commands.distill_command import distill
from rltemp.experiments.evaluation.agent_specs import parse_agent
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.experiments.named_recipe import NamedRecipe
from rltemp.experiments.run_folder import RunFolder
from rltemp.recipes import load_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
BY_ACCELERATE, BY_TORCHRUN = re.findall(r"^((?:accelerate|torchrun) .* distill digits-short .*)$", PAGE, re.MULTILINE)
DISTILL = shlex.split(BY_TORCHRUN.partition("rltemp.experiments ")[2])
PATIENCE = 900.0

RECIPE = load_recipe(
    "digits-short",
    {
        "data": {"train": 64, "validation": 50},
        "teacher": {"network": {"options": {"hidden": [8]}}, "members": 1, "epochs": 2},
        "student": {"options": {"hidden": [8]}},
        "optimization": {"epochs": 3, "batch_size": 8},
    },
)


def second_process(launcher: subprocess.Popen[bytes]) -> psutil.Process:
    """The process of rank 1."""
    for process in psutil.Process(launcher.pid).children(recursive=True):
        if process.environ().get("RANK") == "1":
            return process
    raise AssertionError("there is no process of rank 1")


def test_the_command_of_the_page_is_killed_in_one_process_and_goes_on_in_a_single_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BY_ACCELERATE.endswith(f" --no_python {BY_TORCHRUN}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    folder, said = tmp_path / "runs" / "digits-short" / "distill", tmp_path / "said"
    with said.open("w") as stream, subprocess.Popen(shlex.split(BY_ACCELERATE), stdout=stream, stderr=stream) as first:
        end = time.monotonic() + PATIENCE
        while not (folder / "checkpoints" / "run.pt").exists():
            assert first.poll() is None, said.read_text()
            assert time.monotonic() < end, said.read_text()
            time.sleep(0.002)
        second_process(first).send_signal(signal.SIGKILL)
        assert first.wait(PATIENCE) != 0
    words = said.read_text()
    assert re.search(r"^rltemp: .*; the same command goes on where it stopped$", words, re.MULTILINE)
    assert not (folder / "finished").exists()
    assert len(RunFolder(folder).read_metrics()["epoch"]) < 5

    assert words.count("teacher: 0/") == 1
    assert main(DISTILL) == main([*DISTILL, "--name", "alone"]) == 0
    ours, alone = (RunFolder(folder.with_name(name)) for name in ("distill", "alone"))
    for name, values in alone.read_metrics().items():
        assert ours.read_metrics()[name] == pytest.approx(values, rel=1e-2, abs=0.01)
    weights = [load_file(run.path / "student.safetensors") for run in (ours, alone)]
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[0][name], value, rtol=1e-2, atol=1e-3)
    assert json.loads((folder / "scores.json").read_text())["accuracy"] > 0.5


def distill_rank(rank: int, folder: Path) -> list[str]:
    """One run whole, one interrupted after its first epoch; every rank has a disk of its own. What was refused."""
    ranks, root = Ranks(rank, 2), str(folder / f"{rank}")

    def run(name: str, by: str = "ctkd") -> object:
        spec = parse_agent(by) if by == "rlkd" else parse_policy(by)
        return distill(NamedRecipe("tiny", RECIPE), spec, 3, root, name, ranks=ranks)

    def interrupted(*arguments: Any) -> None:
        epoch(*arguments)
        raise KeyboardInterrupt

    run("whole")
    epoch = distill_command._epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill_command, "_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("broken")
    run("broken")
    refused = []
    for arguments in (("whole",), ("learning", "rlkd")):
        with pytest.raises(InputError) as refusal:
            run(*arguments)
        refused.append(f"{type(refusal.value).__name__}: {refusal.value}")
    return refused


def test_the_first_process_writes_and_reads_for_all(
    in_two_ranks: Callable[[Callable[[int, Path], Any]], list[Any]], tmp_path: Path
) -> None:
    (finished, learning), (elsewhere, same) = in_two_ranks(distill_rank)
    assert re.match(r"InputError: name must be new: the run .*/0/tiny/whole has finished", finished)
    assert elsewhere == finished.replace("InputError", "RefusedElsewhereError")
    assert learning == same == "InputError: --agent must learn in a run of one process, got 2"
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["teachers"]
    assert sorted(path.name for path in (tmp_path / "0" / "tiny").iterdir()) == ["broken", "whole"]
    whole, broken = (tmp_path / "0" / "tiny" / name for name in ("whole", "broken"))
    for name in ("metrics.csv", "student.safetensors", "scores.json"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes()
    alone = distill(NamedRecipe("tiny", RECIPE), parse_policy("ctkd"), 3, str(tmp_path), "alone").folder
    for name, values in RunFolder(alone).read_metrics().items():
        assert RunFolder(whole).read_metrics()[name] == pytest.approx(values, rel=1e-4)
    weights = load_file(whole / "student.safetensors")
    for name, value in load_file(alone / "student.safetensors").items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({"WORLD_SIZE": "2"}, ["presets"], "presets must be started as one process, got 2 of a launcher"),
        (
            {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"},
            DISTILL,
            "accelerate launch --cpu starts one process, however many it is asked for: write --no_python torchrun "
            "--nproc-per-node N in front of -m rltemp.experiments",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused_by_one_process_of_a_machine(
    environment: dict[str, str],
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for rank, words in (("0", f"rltemp: error: {message}\n"), ("1", "")):
        for name, value in {**environment, "LOCAL_RANK": rank}.items():
            monkeypatch.setenv(name, value)
        assert main(arguments) == 2
        if rank == "0" or "WORLD_SIZE" in environment:
            assert capsys.readouterr().err == words
    assert list(tmp_path.iterdir()) == []


def test_what_all_processes_meet_one_of_them_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch.speaks(RefusedElsewhereError("said there"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    of_all = (RefusedElsewhereError(), DivergenceError(), KeyboardInterrupt())
    for rank, words in (("0", [True] * 4), ("1", [False, False, False, True])):
        monkeypatch.setenv("RANK", rank)
        assert [launch.speaks(error) for error in (*of_all, InputError("a file of this machine"))] == words


def test_an_error_of_ones_own_is_no_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not launch.lost_a_peer(torch.distributed.DistNetworkError("closed"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch.lost_a_peer(torch.distributed.DistNetworkError("closed"))
    assert launch.lost_a_peer(RuntimeError("[../third_party/gloo/...] Connection closed by peer"))
    assert not launch.lost_a_peer(RuntimeError("shapes do not fit"))
