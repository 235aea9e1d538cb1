"""The commands that pages show are commands: names, options, values of recipes and recipe files are known."""

import argparse
import importlib
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import rltemp
from rltemp.experiments import cli
from rltemp.experiments.commands import arena_command, detect_command, table
from rltemp.experiments.commands.table import COMMANDS
from rltemp.recipes import load_recipe
from rltemp.tasks import build

REPOSITORY = Path(__file__).parents[2]
PAGES = {
    path.stem: re.sub(r" \\\n +", " ", path.read_text(encoding="utf-8"))
    for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"))
}
# A line of a block, or code within a sentence. Tests of their own pages run those that set PYTHONPATH.
LINE = re.compile(
    r"^(?: {4}|pip install uv && )?(?:uv run )?((?:rltemp|python -m rltemp\S*) .*?)(?: +#.*| \.\.\.)?$", re.M
)
INLINE = re.compile(r"`(?:uv run )?(rltemp [a-z]+ [^`.\n]+)`")
SHOWN = sorted({line for text in PAGES.values() for line in (*LINE.findall(text), *INLINE.findall(text))})
RECIPES = {page: recipe for page, text in PAGES.items() for recipe in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)}
TAKE_A_RECIPE = [command.name for command in COMMANDS if command.takes_recipe]


def _shown(fits: Callable[[list[str]], bool]) -> list[str]:
    return [line for line in SHOWN if fits(shlex.split(line)) and "..." not in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands before those of a page leave."""
    folder = tmp_path_factory.mktemp("commands")
    for path in set(re.findall(r"(?:--policy |=)(runs/[\w/*-]+)", "\n".join(SHOWN))):
        for number in range(1 + path.count("*")):
            rltemp.save_policy(rltemp.load_policy("rltemp/digits"), folder / path.replace("*", str(number)))
    for page, name in (("arena", "pets"), ("data", "photos")):
        for part in ("train", "test"):
            (folder / "data" / name / part).mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(RECIPES[page])
    for name in ("digits-short", "arena-digits"):
        tuned = folder / f"runs/{name}/tune/{name}-tuned.yaml"
        tuned.parent.mkdir(parents=True)
        tuned.write_text(f"extends: {name}\n{RECIPES['tuning']}")
    return folder


@pytest.fixture(autouse=True)
def _in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    # Data and checkpoints are the reader's.
    monkeypatch.setattr(build, "check_files", lambda *_, **__: None)


@pytest.mark.parametrize("line", _shown(lambda words: words[1] in TAKE_A_RECIPE))
def test_a_recipe_has_what_is_set_in_it(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*shlex.split(line)[1:], "--print-config"]) == 0, capsys.readouterr().err
    assert "data:" in capsys.readouterr().out


@pytest.mark.parametrize("line", _shown(lambda words: words[1] in ("arena", "detect")))
def test_what_is_compared_is_known(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(arena_command, "dry_run", lambda *_: print("all known"))
    monkeypatch.setattr(detect_command, "dry_run", lambda *_: print("all known"))
    assert cli.main([*shlex.split(line)[1:], "--dry-run"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == "all known\n"


@pytest.mark.parametrize(
    "line",
    _shown(lambda words: words[0] == "rltemp" and words[1] not in (*TAKE_A_RECIPE, "arena", "detect")),
)
def test_its_options_are_there(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ran: list[object] = []
    commands = [replace(command, run=lambda *_: ran.append(_)) for command in COMMANDS]
    monkeypatch.setattr(table, "COMMANDS", commands)
    assert cli.main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    assert ran


class ReadError(Exception):
    """All words of a command were read."""


@pytest.mark.parametrize("line", _shown(lambda words: words[0] == "python"))
def test_a_study_has_these_options(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, module, *words = shlex.split(line)
    study = importlib.import_module(module)
    parse = argparse.ArgumentParser.parse_args

    def read(parser: argparse.ArgumentParser, *_: object) -> None:
        parse(parser, words)
        raise ReadError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read)
    if words:
        with pytest.raises(ReadError):
            study.main()


@pytest.mark.parametrize("page", RECIPES)
def test_a_recipe_of_a_page_is_one(page: str) -> None:
    Path(f"{page}.yaml").write_text(RECIPES[page] if page != "tuning" else f"extends: digits-short\n{RECIPES[page]}")
    load_recipe(f"{page}.yaml")


def test_there_are_commands_to_check() -> None:
    assert {shlex.split(line)[1] for line in SHOWN if line.startswith("rltemp ")} >= {
        command.name for command in COMMANDS
    } - {"policies", "presets"}
    assert len(SHOWN) > 40


def test_the_costs_of_a_search_are_what_the_page_says() -> None:
    page = PAGES["choose"]
    assert "# 3 searches of 24 settings of 8 students: 576 runs" in page
    assert 3 * 24 * 8 == 576
    (trials, students, runs) = re.findall(r"--trials (\d+) --students (\d+) +# (\d+) runs", page)[0]
    assert 3 * int(trials) * int(students) == int(runs)
