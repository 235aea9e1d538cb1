"""Tables, settings and descriptions: JSON, YAML and CSV of runs, evaluations, policies and recipes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rltemp
from rltemp.experiments.evaluation.results import FIDELITY, METRICS, Evaluation, PolicyResult
from rltemp.experiments.evaluation.results_files import load_evaluation, save_evaluation
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.experiments.evaluation.units import Unit, UnitStore
from rltemp.experiments.run_folder import RunFolder
from rltemp.recipes import dump_recipe, load_recipe

Reader = tuple[Path, Callable[[], Any]]
Ending = Callable[[Callable[[], Any]], str]


def policy(folder: Path) -> Reader:
    rltemp.save_policy(rltemp.LearnedPolicy(rltemp.LogitFeatures(), (4,), card={"recipe": "digits"}), folder / "policy")
    return folder / "policy" / "policy.json", lambda: rltemp.load_policy(folder / "policy")


def _run(folder: Path) -> RunFolder:
    run = RunFolder.start(folder, "digits", "run", "data:\n  name: digits\n")
    for epoch in range(9):
        run.append_metrics({"epoch": epoch, "test_accuracy": 0.1 * epoch})
    return run


def metrics(folder: Path) -> Reader:
    run = _run(folder)

    def read() -> object:
        run.keep_metrics(3)
        return run.read_metrics()

    return run.path / "metrics.csv", read


def config(folder: Path) -> Reader:
    run = _run(folder)
    return run.path / "config.yaml", lambda: run.config


def _result() -> PolicyResult:
    values: dict[str, Any] = {metric: np.array([0.25, 0.5]) for metric in METRICS}
    return PolicyResult(name="dtkd", label="DTKD", family="rule", trace=None, **values)


def evaluation(folder: Path) -> Reader:
    save_evaluation(Evaluation("digits", {"data": {"name": "digits"}}, (1, 2), (_result(),), {"cores": 2}), folder)
    return folder / "evaluation.json", lambda: load_evaluation(folder)


def table(folder: Path) -> Reader:
    """The metrics of an evaluation of format 1, which kept them in the table alone and knew less of them."""
    path, read = evaluation(folder)
    whole = json.loads(path.read_text())
    for policy in whole["policies"]:
        del policy["metrics"]
    path.write_text(json.dumps({**whole, "format": 1}))
    rows = [line.split(",")[: -len(FIDELITY)] for line in (folder / "results.csv").read_text().splitlines()]
    (folder / "results.csv").write_text("".join(f"{','.join(row)}\n" for row in rows))
    return folder / "results.csv", read


def unit(folder: Path) -> Reader:
    store, unit = UnitStore(folder / "units"), Unit(parse_policies("dtkd")[0], (4, 7))
    store.keep(unit, _result())
    (path,) = (folder / "units").iterdir()
    return path, lambda: store.find(unit) is not None


def recipe(folder: Path) -> Reader:
    path = folder / "recipe.yaml"
    path.write_text(dump_recipe(load_recipe("digits-short")))
    return path, lambda: load_recipe(path)


READERS: dict[str, Callable[[Path], Reader]] = {
    "policy.json": policy,
    "metrics": metrics,
    "config": config,
    "evaluation.json": evaluation,
    "results.csv": table,
    "unit": unit,
    "recipe": recipe,
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_ends_in_a_value_or_in_our_error(name: str, fuzz: Callable[..., None], tmp_path: Path) -> None:
    fuzz(READERS[name](tmp_path))


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file_is_refused_at_once(
    name: str, refuse_other_files: Callable[[Reader], None], tmp_path: Path
) -> None:
    refuse_other_files(READERS[name](tmp_path))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=5,
)
SETTINGS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def valid(name: str, tmp_path: Path) -> Reader:
    """A valid file and what reads it, after all is imported that this needs."""
    path, read = READERS[name](tmp_path)
    read()
    return path, read


@pytest.fixture
def whole(valid: Reader) -> Any:
    """What a valid JSON file holds."""
    return json.loads(valid[0].read_text())


@given(st.text() | st.binary(max_size=200))
@SETTINGS
@pytest.mark.parametrize("name", READERS)
def test_any_text_ends_in_a_value_or_in_our_error(valid: Reader, ending: Ending, content: str | bytes) -> None:
    path, read = valid
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    assert ending(read) in ("read", "none", "refused")


@given(JSON, st.randoms(use_true_random=False))
@SETTINGS
@pytest.mark.parametrize("name", ["policy.json", "evaluation.json", "unit"])
def test_any_value_in_any_place_ends_in_a_value_or_in_our_error(
    valid: Reader, whole: Any, ending: Ending, value: Any, rng: random.Random
) -> None:
    path, read = valid
    content = copy.deepcopy(whole)
    parent, key = rng.choice(list(places(content)))
    parent[key] = value
    path.write_text(json.dumps(content))
    assert ending(read) in ("read", "none", "refused")


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of nested dicts and lists with each of its keys."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield content, key
        if isinstance(value, dict | list):
            yield from places(value)


@pytest.mark.parametrize("name", ["policy.json", "evaluation.json", "unit"])
def test_brackets_without_end_are_no_recursion(valid: Reader, ending: Ending) -> None:
    path, read = valid
    path.write_text("[" * 200_000)
    assert ending(read) in ("none", "refused")
