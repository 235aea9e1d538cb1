import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rltemp.errors import InputError
from rltemp.experiments import run_folder
from rltemp.experiments.run_folder import RunFolder
from rltemp.files import new_draft
from rltemp.recipes import dump_recipe, load_recipe

CONFIG = "seed: 1\nname: ä\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_new_run_has_its_parts(tmp_path: Path) -> None:
    run = RunFolder.start(tmp_path / "runs", "digits", "first", CONFIG)
    assert run.path == tmp_path / "runs" / "digits" / "first"
    assert sorted(os.listdir(run.path)) == [".lock", "checkpoints", "config.yaml", "versions.json"]
    assert run.config == CONFIG
    assert run.checkpoints.is_dir()
    assert "torch" in json.loads((run.path / "versions.json").read_text())
    assert not run.finished
    assert run.read_metrics() == {}
    assert os.listdir(run.path.parent) == ["first"]


def test_a_run_cut_short_is_resumed_as_it_was(tmp_path: Path) -> None:
    run = RunFolder.start(tmp_path, "digits", "first", CONFIG)
    run.append_metrics({"return": 0.1})
    (run.checkpoints / "1").write_text("state")
    before = contents(run.path)
    resumed = RunFolder.start(tmp_path, "digits", "first", CONFIG)
    assert contents(resumed.path) == before
    assert resumed.read_metrics()["return"].tolist() == [0.1]


def test_a_value_that_an_earlier_version_did_not_know_stands_at_its_default(tmp_path: Path) -> None:
    config = dump_recipe(load_recipe("digits-short"), agent=False) + "# seeds: 0 1\n"
    before = config.replace("  probe_weight: 0.0\n", "")
    assert before != config
    RunFolder.start(tmp_path, "digits", "first", before).append_metrics({"return": 0.1})
    assert RunFolder.start(tmp_path, "digits", "first", config).config == before
    for other in (
        config.replace("probe_weight: 0.0", "probe_weight: 0.1"),
        config.replace("0 1", "0 2"),
        config.replace("epochs: 5", "epochs: 6"),
        "{",
    ):
        with pytest.raises(InputError, match="started with another"):
            RunFolder.start(tmp_path, "digits", "first", other)


def test_a_run_of_a_version_with_other_names_goes_on(tmp_path: Path) -> None:
    config = dump_recipe(load_recipe("digits-short"))
    before = config.replace("  n_epochs: 8\n", "  epochs: 8\n").replace("  log_std_init:", "  log_std:")
    assert before.count("epochs: 8") == 1
    RunFolder.start(tmp_path, "digits", "first", before).append_metrics({"return": 0.1})
    assert RunFolder.start(tmp_path, "digits", "first", config).config == before
    with pytest.raises(InputError, match="started with another"):
        RunFolder.start(tmp_path, "digits", "first", config.replace("n_epochs: 8", "n_epochs: 9"))


def test_a_run_that_goes_on_elsewhere_is_refused_until_that_process_ends(tmp_path: Path) -> None:
    """The other process is killed, so that nothing of it can tidy up."""
    start = f"RunFolder.start({str(tmp_path)!r}, 'digits', 'first', {CONFIG!r})"
    code = f"from rltemp.experiments.run_folder import RunFolder\nrun = {start}\nprint('started', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"started\n"
        before = contents(tmp_path)
        for config in (CONFIG, "seed: 2\n"):
            with pytest.raises(InputError, match="goes on in another process"):
                RunFolder.start(tmp_path, "digits", "first", config)
        assert contents(tmp_path) == before
        other.kill()
    assert RunFolder.start(tmp_path, "digits", "first", CONFIG).config == CONFIG


def test_a_finished_run_is_never_touched(tmp_path: Path) -> None:
    run = RunFolder.start(tmp_path, "digits", "first", CONFIG)
    run.finish()
    before = contents(tmp_path)
    with pytest.raises(InputError, match="has finished"):
        RunFolder.start(tmp_path, "digits", "first", CONFIG)
    assert contents(tmp_path) == before
    assert RunFolder(run.path).finished


@pytest.mark.parametrize("result", ["metrics.csv", "checkpoint.pt", "checkpoints/run.pt", "parts/0.json", "notes.txt"])
def test_another_configuration_is_refused(tmp_path: Path, result: str) -> None:
    run = RunFolder.start(tmp_path, "digits", "first", CONFIG)
    (run.path / result).parent.mkdir(exist_ok=True)
    (run.path / result).write_text("")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="started with another"):
        RunFolder.start(tmp_path, "digits", "first", "seed: 2\n")
    assert contents(tmp_path) == before


def test_a_run_that_took_no_step_gives_way_to_another_configuration(tmp_path: Path) -> None:
    path = RunFolder.start(tmp_path, "digits", "first", CONFIG).path
    new_draft(path / "metrics.csv").write_text("half of a first step")
    again = RunFolder.start(tmp_path, "digits", "first", "seed: 2\n")
    assert again.config == "seed: 2\n"
    RunFolder.start(tmp_path / "new", "digits", "first", "seed: 2\n")
    assert contents(path).items() >= contents(tmp_path / "new" / "digits" / "first").items()


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "digits" / "mine"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"has no config\.yaml"):
        RunFolder(folder)
    with pytest.raises(InputError, match=r"has no config\.yaml"):
        RunFolder.start(tmp_path, "digits", "mine", CONFIG)
    assert contents(tmp_path) == {"digits/mine/notes.txt": b"mine"}


def test_a_failed_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[str, str | int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "describe_machine", fail)
    with pytest.raises(KeyboardInterrupt):
        RunFolder.start(tmp_path, "digits", "first", CONFIG)
    assert os.listdir(tmp_path / "digits") == []


def test_of_two_that_start_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> dict[str, str | int]:
        monkeypatch.undo()
        RunFolder.start(tmp_path, "digits", "first", "by: the other\n")
        return {}

    monkeypatch.setattr(run_folder, "describe_machine", slow)
    with pytest.raises(InputError, match="taken"):
        RunFolder.start(tmp_path, "digits", "first", CONFIG)
    assert RunFolder(tmp_path / "digits" / "first").config == "by: the other\n"
    assert os.listdir(tmp_path / "digits") == ["first"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "-x", "a b", "a\n", "x" * 129])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name must be letters"):
        RunFolder.start(tmp_path, "digits", name, CONFIG)
    with pytest.raises(InputError, match="recipe must be letters"):
        RunFolder.start(tmp_path, name, "first", CONFIG)
    assert os.listdir(tmp_path) == []


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError, match="root must be a folder"):
        RunFolder.start(tmp_path / "runs", "digits", "first", CONFIG)


def test_free_names_count_up(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(RunFolder.free_name(tmp_path, "digits"))
        RunFolder.start(tmp_path, "digits", names[-1], CONFIG)
    assert names == ["run-1", "run-2", "run-3"]
    assert RunFolder.free_name(tmp_path, "cifar", "agent") == "agent-1"


def test_metrics_come_back_bit_for_bit(tmp_path: Path) -> None:
    run = RunFolder.start(tmp_path, "digits", "first", CONFIG)
    values = np.random.default_rng(0).standard_normal((5, 2))
    values[2, 1] = np.nan
    for a, b in values:
        run.append_metrics({"return": a, "kl": b})
    read = run.read_metrics()
    assert list(read) == ["return", "kl"]
    np.testing.assert_array_equal(np.stack(list(read.values()), axis=1), values)


def test_rows_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    run = RunFolder.start(tmp_path, "digits", "first", CONFIG)
    for value in range(5):
        run.append_metrics({"return": value})
    run.keep_metrics(2)
    run.append_metrics({"return": 9})
    assert run.read_metrics()["return"].tolist() == [0, 1, 9]
    run.keep_metrics(0)
    assert run.read_metrics()["return"].tolist() == []
    with pytest.raises(InputError, match=r"rows must lie in \[0, 0\]"):
        run.keep_metrics(1)


def test_metrics_refuse_other_columns_and_damage(tmp_path: Path) -> None:
    run = RunFolder.start(tmp_path, "digits", "first", CONFIG)
    run.append_metrics({"return": 1.0})
    with pytest.raises(InputError, match="columns return, got loss"):
        run.append_metrics({"loss": 1.0})
    (run.path / "metrics.csv").write_text("return\n1.0\nx\n")
    with pytest.raises(InputError, match="must hold numbers"):
        run.read_metrics()
    (run.path / "metrics.csv").write_text("return\n1.0\n1.0,2.0\n")
    with pytest.raises(InputError, match="must hold numbers"):
        run.read_metrics()
