"""SIGTERM is as gentle as Ctrl-C, in the command line alone."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rltemp.experiments.cli import main
from rltemp.experiments.termination import Terminated, gentle_termination

TRAIN = [
    "train",
    "digits-short",
    "--data.train=16",
    "--data.validation=10",
    "--teacher.network.options={hidden: [4]}",
    "--teacher.members=1",
    "--teacher.epochs=1",
    "--teacher.batch_size=8",
    "--student.options={hidden: [4]}",
    "--optimization.epochs=2",
    "--optimization.batch_size=8",
    "--policy.alignment=none",
    "--agent.students=1",
    "--agent.rollouts=40",
    "--agent.keep=last",
    "--agent.n_epochs=2",
    "--agent.minibatches=2",
    "--agent.hidden=[4]",
]
RESULTS = ("policy/policy.safetensors", "policy/policy.json", "metrics.csv", "finished")


def results(folder: Path) -> list[bytes]:
    return [(folder / "runs" / "digits-short" / "train" / name).read_bytes() for name in RESULTS]


def test_training_that_is_terminated_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for folder in (broken, whole):
        folder.mkdir()
    command = [sys.executable, "-m", "rltemp.experiments", *TRAIN]
    with subprocess.Popen(command, cwd=broken, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("rollout "):
                run.send_signal(signal.SIGTERM)
                break
        rest = run.stderr.read()
    assert run.returncode == 143
    assert rest.splitlines()[-1] == "rltemp: interrupted; the same command goes on where it stopped"
    assert "Traceback" not in rest
    assert not (broken / "runs" / "digits-short" / "train" / "policy").exists()
    for folder in (broken, whole):
        monkeypatch.chdir(folder)
        assert main(TRAIN) == 0
    assert results(broken) == results(whole)


def test_the_old_handler_is_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), gentle_termination():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert main(["recipes"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_change_nothing() -> None:
    inside = []

    def look() -> None:
        with gentle_termination():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert inside == [signal.getsignal(signal.SIGTERM)]
