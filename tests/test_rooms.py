"""The house: imports go one way, and the README names every room."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOMS = {"rltemp": "rltemp", "envs": "rltemp.envs", "agents": "rltemp.agents", "experiments": "rltemp.experiments"}
"""Folders and what they are imported as, from the lowest to the highest."""

LONGEST = 300
"""Lines of a file, at most."""


def _modules(folder: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        yield path, path.read_text(encoding="utf-8")


def _imported(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_runs_upwards(room: str) -> None:
    order = list(ROOMS)
    above = [ROOMS[name] for name in order[order.index(room) + 1 :]]
    for path, text in _modules(room):
        upwards = [module for module in _imported(text) for package in above if _is_inside(module, package)]
        assert upwards == [], f"{path.relative_to(REPOSITORY)} imports {upwards}"


@pytest.mark.parametrize(
    ("folder", "above"),
    [
        ("data", ["networks", "policies", "objectives", "distillation", "tasks", "recipes"]),
        ("networks", ["policies", "objectives", "distillation", "tasks"]),
        ("policies", ["objectives", "distillation", "tasks"]),
        ("objectives", ["distillation", "tasks"]),
        ("distillation", ["tasks"]),
    ],
)
def test_no_import_runs_upwards_in_the_core(folder: str, above: list[str]) -> None:
    for path, text in _modules(f"rltemp/{folder}"):
        modules = _imported(text)
        upwards = [m for m in modules for name in above if _is_inside(m, f"rltemp.{name}")]
        assert upwards == [], f"{path.relative_to(REPOSITORY)} imports {upwards}"


def test_the_core_imports_nothing_of_reinforcement_learning() -> None:
    for path, text in _modules("rltemp"):
        learned = [m for m in _imported(text) if _is_inside(m, "gymnasium") or _is_inside(m, "stable_baselines3")]
        assert learned == [], f"{path.relative_to(REPOSITORY)} imports {learned}"


def test_the_readme_names_every_room_and_no_other() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    table = text[text.index("## What is where") :].split("\n\n")[2]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`([\w/]+)/`", row.split("|")[1])}
    there = {
        "/".join(folder.relative_to(REPOSITORY).parts[:2])
        for room in ROOMS
        for folder in (path.parent for path, _ in _modules(room))
    }
    assert named - {"docs", "examples", "tests", "typings"} == there


@pytest.mark.parametrize("room", ROOMS)
def test_files_are_short(room: str) -> None:
    long = {
        str(path.relative_to(REPOSITORY)): len(text.splitlines())
        for path, text in _modules(room)
        if len(text.splitlines()) > LONGEST
    }
    assert long == {}
