import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rltemp.errors import InputError
from rltemp.experiments.evaluation.results import (
    FIDELITY,
    METRICS,
    Evaluation,
    PolicyResult,
    TeacherResult,
    TemperatureTrace,
)
from rltemp.experiments.evaluation.results_files import load_evaluation, save_evaluation


def trace(rng: np.random.Generator, moments: int = 4, samples: int = 6) -> TemperatureTrace:
    return TemperatureTrace(
        progress=np.linspace(0, 1, moments),
        quantiles=np.sort(rng.uniform(0.5, 32, (moments, 5)), axis=1),
        difficulty=rng.exponential(1, samples),
        temperature=rng.uniform(0.5, 32, samples),
        sample_progress=rng.uniform(0, 1, samples),
    )


def policy(rng: np.random.Generator, name: str, **changes: Any) -> PolicyResult:
    fields: dict[str, Any] = {metric: rng.uniform(0, 1, 3) for metric in METRICS}
    return PolicyResult(**{**fields, "name": name, "trace": None, "label": name, "family": "static", **changes})


@pytest.fixture
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    return Evaluation(
        recipe="digits",
        setting={"data": {"name": "digits", "shift": 1, "noise": 0.3}, "milestones": [0.5, 0.75], "path": None},
        seeds=(5, 3, 11),
        results=(
            policy(rng, 'static, "T" = 4'),
            policy(rng, "agent-0", trace=trace(rng), family="trained", group="agent", label="ä"),
            policy(rng, "agent-1", family="trained", group="agent"),
        ),
        machine={"cpu": "x", "cores": 2},
        teacher=TeacherResult(0.875, 1 / 3, 0.05),
    )


def test_loading_gives_back_the_same_bits(evaluation: Evaluation, tmp_path: Path) -> None:
    save_evaluation(evaluation, tmp_path)
    loaded = load_evaluation(tmp_path)
    assert loaded.teacher == evaluation.teacher
    assert (loaded.recipe, loaded.setting, loaded.seeds, loaded.machine) == (
        evaluation.recipe,
        evaluation.setting,
        evaluation.seeds,
        evaluation.machine,
    )
    for old, new in zip(evaluation.results, loaded.results, strict=True):
        assert (old.name, old.label, old.family, old.group) == (new.name, new.label, new.family, new.group)
        for metric in METRICS:
            assert getattr(old, metric).tolist() == getattr(new, metric).tolist()
        assert (old.trace is None) == (new.trace is None)
        if old.trace is not None and new.trace is not None:
            for field in ("progress", "quantiles", "difficulty", "temperature", "sample_progress"):
                assert getattr(old.trace, field).tolist() == getattr(new.trace, field).tolist()


def test_saving_twice_writes_the_same_bytes(evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    save_evaluation(evaluation, tmp_path / "a")
    save_evaluation(load_evaluation(tmp_path / "a"), tmp_path / "b")
    for name in ("results.csv", "evaluation.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_arrays_are_checked_copies(evaluation: Evaluation) -> None:
    source: Any = np.array([0.1, 0.2, 0.3], dtype=np.float32)
    result = replace(evaluation.results[0], accuracy=source)
    source[0] = 0.9
    assert result.accuracy.dtype == np.float64
    assert result.accuracy[0] == np.float32(0.1)
    with pytest.raises(ValueError, match="read-only"):
        result.accuracy[0] = 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": [0.5, 77.0, 0.5]}, "accuracy must be finite, >= 0 and <= 1, got 77"),
        ({"nll": [0.5, np.nan, 0.5]}, "nll must be finite"),
        ({"agreement": [0.5, np.nan, 0.5]}, "agreement must be finite, >= 0 and <= 1, got nan"),
        ({"divergence": [0.5, np.nan, np.inf]}, "divergence must be finite, >= 0, or infinite, got nan"),
        ({"divergence": [0.5, -0.1, 0.5]}, "divergence must be .* got -0.1"),
        ({"validation_nll": [np.nan] * 3}, "validation_nll must be finite"),
        ({"nll": [0.5, 0.5]}, r"nll must have shape \[3\], got \[2\]"),
        ({"calibration_error": "x"}, "array of numbers"),
        ({"family": "other"}, "family must be one of"),
        ({"name": ""}, "must not be empty"),
    ],
)
def test_a_result_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(policy(np.random.default_rng(0), "a"), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"progress": [0.0, 0.5, 0.4, 1.0]}, "progress must not decrease"),
        ({"quantiles": np.ones((4, 4))}, r"shape \[4, 5\], got \[4, 4\]"),
        ({"quantiles": np.tile([5.0, 4, 3, 2, 1], (4, 1))}, "quantiles must not decrease"),
        ({"temperature": np.zeros(6)}, "> 0, got 0"),
        ({"sample_progress": np.full(6, 2.0)}, "<= 1, got 2"),
    ],
)
def test_a_trace_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(trace(np.random.default_rng(0)), **changes)


def test_an_evaluation_refuses_what_is_not_paired(evaluation: Evaluation) -> None:
    first, *_ = evaluation.results
    with pytest.raises(InputError, match=r"one value per seed \(2\), got 3"):
        replace(evaluation, seeds=(1, 2))
    with pytest.raises(InputError, match="at least 2 different"):
        replace(evaluation, seeds=(1, 1, 2))
    with pytest.raises(InputError, match="own name"):
        replace(evaluation, results=(first, first))
    with pytest.raises(InputError, match="of one family"):
        replace(evaluation, results=(*evaluation.results, replace(first, name="x", group="agent")))
    with pytest.raises(InputError, match="must not bear the name"):
        replace(evaluation, results=(*evaluation.results, replace(first, name="agent")))


def test_groups_hold_repeated_trainings_together(evaluation: Evaluation) -> None:
    names = {group: [result.name for result in members] for group, members in evaluation.groups().items()}
    assert names == {'static, "T" = 4': ['static, "T" = 4'], "agent": ["agent-0", "agent-1"]}


def test_a_setting_json_cannot_hold_leaves_no_file(evaluation: Evaluation, tmp_path: Path) -> None:
    for value in (object(), float("nan")):
        with pytest.raises(InputError, match="plain finite values"):
            save_evaluation(replace(evaluation, setting={"x": value}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def damage_json(path: Path, key: str, value: object) -> None:
    rest = json.loads(path.read_text())
    rest[key] = value
    path.write_text(json.dumps(rest))


def save_as_format_2(evaluation: Evaluation, folder: Path) -> None:
    """Nothing is known of the teacher."""
    save_evaluation(evaluation, folder)
    path = folder / "evaluation.json"
    whole = json.loads(path.read_text())
    for policy in whole["policies"]:
        for metric in FIDELITY:
            del policy["metrics"][metric]
    del whole["teacher"]
    path.write_text(json.dumps(whole | {"format": 2}))


def save_as_format_1(evaluation: Evaluation, folder: Path) -> None:
    """Likewise, and the metrics stand in the table alone."""
    save_as_format_2(evaluation, folder)
    path, table = folder / "evaluation.json", folder / "results.csv"
    whole = json.loads(path.read_text())
    for policy in whole["policies"]:
        del policy["metrics"]
    path.write_text(json.dumps(whole | {"format": 1}))
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    with table.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(row[: -len(FIDELITY)] for row in rows)


def without_teacher(evaluation: Evaluation) -> Evaluation:
    unknown: Any = dict.fromkeys(FIDELITY, np.full(len(evaluation.seeds), np.nan))
    results = tuple(replace(result, **unknown) for result in evaluation.results)
    return replace(evaluation, results=results, teacher=None)


@pytest.mark.parametrize("save_before", [save_as_format_1, save_as_format_2])
def test_an_earlier_format_is_read_to_the_same_bits(
    evaluation: Evaluation, save_before: Callable[[Evaluation, Path], None], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    save_evaluation(without_teacher(evaluation), tmp_path / "a")
    save_before(evaluation, tmp_path / "b")
    save_evaluation(load_evaluation(tmp_path / "b"), tmp_path / "b")
    for name in ("results.csv", "evaluation.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_infinite_and_not_measured_are_told_apart(evaluation: Evaluation, tmp_path: Path) -> None:
    first, second, third = evaluation.results
    nothing, infinite = np.full(3, np.nan), np.array([0.5, np.inf, np.inf])
    results = (replace(first, agreement=nothing, divergence=nothing), replace(second, divergence=infinite), third)
    save_evaluation(replace(evaluation, results=results, teacher=TeacherResult(0.1, np.inf, 1.0)), tmp_path)
    loaded = load_evaluation(tmp_path)
    assert loaded.teacher == TeacherResult(0.1, np.inf, 1.0)
    for metric in FIDELITY:
        for old, new in zip(results, loaded.results, strict=True):
            assert np.array_equal(getattr(new, metric), getattr(old, metric), equal_nan=True)
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["agreement"] for row in rows[:3]] == ["", "", ""]
    assert [row["divergence"] for row in rows[3:6]] == ["0.5", "inf", "inf"]


@pytest.mark.parametrize("teacher", [{"accuracy": 2.0}, {"nll": -1.0}, {"calibration_error": None}, {"nll": "x"}])
def test_a_damaged_teacher_is_refused(evaluation: Evaluation, teacher: dict[str, Any], tmp_path: Path) -> None:
    save_evaluation(evaluation, tmp_path)
    whole = {"accuracy": 0.5, "nll": None, "calibration_error": 0.1}
    damage_json(tmp_path / "evaluation.json", "teacher", whole)
    assert load_evaluation(tmp_path).teacher == TeacherResult(0.5, np.inf, 0.1)
    damage_json(tmp_path / "evaluation.json", "teacher", whole | teacher)
    with pytest.raises(InputError, match=f"{next(iter(teacher))} must be"):
        load_evaluation(tmp_path)


def test_the_table_is_for_people_alone(evaluation: Evaluation, tmp_path: Path) -> None:
    save_evaluation(evaluation, tmp_path)
    (tmp_path / "results.csv").write_text("edited")
    assert load_evaluation(tmp_path).results[0].nll.tolist() == evaluation.results[0].nll.tolist()


def test_a_damaged_evaluation_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    whole = tmp_path / "evaluation.json"

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            load_evaluation(tmp_path)
        save_evaluation(evaluation, tmp_path)

    refused("readable UTF-8 file")
    whole.write_bytes(b"\xff\xfe")
    refused("UTF-8")
    whole.write_text("{")
    refused("must be JSON")
    damage_json(whole, "format", 4)
    refused("format 3, 2 or 1, got 4")
    whole.write_text("[]")
    refused("format 3, 2 or 1, got list")
    damage_json(whole, "seeds", None)
    refused("damaged")
    damage_json(whole, "policies", [{"name": "agent-0"}])
    refused("damaged")
    damage_json(whole, "seeds", [1, 2])
    refused(r"one value per seed \(2\), got 3")
    policies = json.loads(whole.read_text())["policies"]
    policies[0]["metrics"]["accuracy"][0] = 7
    damage_json(whole, "policies", policies)
    refused("accuracy must be finite")


def test_a_damaged_evaluation_of_the_first_format_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    rest, table = tmp_path / "evaluation.json", tmp_path / "results.csv"
    save_as_format_1(evaluation, tmp_path)

    def refused(message: str) -> None:
        with pytest.raises(InputError, match=message):
            load_evaluation(tmp_path)
        save_as_format_1(evaluation, tmp_path)

    damage_json(rest, "policies", [{"name": "agent-0"}])
    refused("once with each seed")
    table.write_text("a,b\n")
    refused("must have the columns policy, seed, accuracy")
    table.write_bytes(b"\xff\xfe")
    refused("UTF-8")
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]))
    refused("once with each seed")
    table.write_text("\n".join([*lines, lines[-1]]))
    refused(f"line {len(lines) + 1}: must be one row per policy and seed")
    table.write_text("\n".join([*lines[:-1], lines[-1].replace("0.", "zero ", 1)]))
    refused(f"line {len(lines)}: must be a policy, a seed and 5 numbers")
    table.write_text("\n".join([*lines[:-1], lines[-1].replace(",0.", ",7.", 1)]))
    refused("accuracy must be finite")
    assert load_evaluation(tmp_path).seeds == evaluation.seeds


def test_trouble_is_kept_and_its_absence_leaves_no_trace(evaluation: Evaluation, tmp_path: Path) -> None:
    save_evaluation(evaluation, tmp_path)
    assert "trouble" not in (tmp_path / "evaluation.json").read_text()
    first, *others = evaluation.results
    told = replace(first, trouble="a student diverged at update 3")
    save_evaluation(replace(evaluation, results=(told, *others)), tmp_path)
    assert [result.trouble for result in load_evaluation(tmp_path).results] == [told.trouble, "", ""]


def test_whose_labels_were_replaced_is_kept_and_older_traces_do_not_say(evaluation: Evaluation, tmp_path: Path) -> None:
    save_evaluation(evaluation, tmp_path)
    assert "mislabelled" not in (tmp_path / "evaluation.json").read_text()
    first, second, third = evaluation.results
    assert second.trace is not None
    wrong = replace(second.trace, mislabelled=np.array([0, 1, 1, 0, 0, 1.0]))
    save_evaluation(replace(evaluation, results=(first, replace(second, trace=wrong), third)), tmp_path)
    loaded = load_evaluation(tmp_path).results[1].trace
    assert loaded is not None
    assert loaded.mislabelled is not None
    assert loaded.mislabelled.tolist() == [0, 1, 1, 0, 0, 1]
    with pytest.raises(InputError, match="mislabelled must have shape"):
        replace(wrong, mislabelled=np.zeros(5))
