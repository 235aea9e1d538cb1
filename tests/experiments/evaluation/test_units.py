"""An evaluation in parts: cut, kept, found and put together again."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rltemp.experiments.evaluation.results import FIDELITY, METRICS, QUANTILES, PolicyResult, TemperatureTrace
from rltemp.experiments.evaluation.specs import parse_policies
from rltemp.experiments.evaluation.units import Unit, UnitStore, cut, merge

SPECS = parse_policies("dtkd,static(temperature=3)")


def _result(seed: int, students: int = 1) -> PolicyResult:
    rng = np.random.default_rng(seed)
    trace = TemperatureTrace(
        progress=np.array([0.0, 0.5]),
        quantiles=np.sort(rng.uniform(1.0, 9.0, (2, len(QUANTILES)))),
        difficulty=rng.random(4),
        temperature=rng.uniform(1.0, 9.0, 4),
        sample_progress=np.array([0.0, 0.0, 0.5, 0.5]),
    )
    metrics: dict[str, Any] = {metric: rng.random(students) for metric in METRICS}
    return PolicyResult(name="dtkd", label="DTKD", family="rule", trace=trace, **metrics)


def test_students_that_stack_stay_together_and_others_come_one_by_one() -> None:
    assert [(unit.spec.name, unit.seeds) for unit in cut(SPECS, (4, 7), stacked=True)] == [
        ("dtkd", (4, 7)),
        ("static(temperature=3)", (4, 7)),
    ]
    assert [(unit.spec.name, unit.seeds) for unit in cut(SPECS, (4, 7), stacked=False)] == [
        ("dtkd", (4,)),
        ("static(temperature=3)", (4,)),
        ("dtkd", (7,)),
        ("static(temperature=3)", (7,)),
    ]


def test_what_is_merged_keeps_its_order_and_every_number() -> None:
    parts = [_result(seed) for seed in range(3)]
    whole = merge(parts)
    for metric in METRICS:
        assert getattr(whole, metric).tolist() == [getattr(part, metric)[0] for part in parts]
    assert whole.trace is not None
    traces = [part.trace for part in parts if part.trace is not None]
    np.testing.assert_allclose(whole.trace.quantiles, sum(trace.quantiles for trace in traces) / 3)
    assert len(whole.trace.temperature) == 4
    pairs = {(d, t) for trace in traces for d, t in zip(trace.difficulty, trace.temperature, strict=True)}
    assert set(zip(whole.trace.difficulty, whole.trace.temperature, strict=True)) <= pairs
    assert merge(parts[:1]) is parts[0]
    assert merge([dataclasses.replace(part, trace=None) for part in parts]).trace is None
    told = [dataclasses.replace(part, trouble=text) for part, text in zip(parts, ("", "first", "second"), strict=True)]
    assert merge(told).trouble == "first"
    wrong = [dataclasses.replace(trace, mislabelled=np.array([0, 1, 0, 1.0])) for trace in traces]
    marked = [dataclasses.replace(part, trace=trace) for part, trace in zip(parts, wrong, strict=True)]
    merged = merge(marked).trace
    assert merged is not None
    assert merged.mislabelled is not None
    # Every third of 0 1 0 1 0 1 0 1 0 1 0 1.
    assert merged.mislabelled.tolist() == [0, 1, 0, 1]
    assert whole.trace.mislabelled is None


def test_how_students_follow_is_known_of_all_units_or_of_none(tmp_path: Path) -> None:
    """The first unit was kept by a version that did not measure it."""
    parts, unit = UnitStore(tmp_path), Unit(SPECS[0], (4,))
    parts.keep(unit, _result(0))
    (path,) = tmp_path.iterdir()
    kept = json.loads(path.read_text())
    for metric in FIDELITY:
        del kept["metrics"][metric]
    path.write_text(json.dumps(kept))
    found = parts.find(unit)
    assert found is not None
    whole = merge([found, _result(1)])
    for metric in METRICS:
        want = [getattr(_result(seed), metric)[0] for seed in (0, 1)] if metric not in FIDELITY else [np.nan] * 2
        assert np.array_equal(getattr(whole, metric), want, equal_nan=True)


def test_a_part_that_was_kept_is_found_bit_for_bit(tmp_path: Path) -> None:
    parts, unit = UnitStore(tmp_path / "parts"), Unit(SPECS[0], (4, 7))
    assert parts.find(unit) is None
    kept = _result(0, students=2)
    parts.keep(unit, kept)
    found = parts.find(unit)
    assert found is not None
    assert found.trace is not None
    assert kept.trace is not None
    for metric in METRICS:
        assert np.array_equal(getattr(found, metric), getattr(kept, metric))
    assert np.array_equal(found.trace.quantiles, kept.trace.quantiles)
    assert (found.name, found.label, found.family, found.group) == (kept.name, kept.label, kept.family, kept.group)
    for other in (Unit(SPECS[0], (4,)), Unit(SPECS[1], (4, 7))):
        assert parts.find(other) is None
    parts.drop([unit, unit])
    assert parts.find(unit) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"metrics": {}, "policy": {}}', b"\xff"])
def test_a_damaged_part_is_no_part(tmp_path: Path, damage: bytes) -> None:
    parts, unit = UnitStore(tmp_path), Unit(SPECS[0], (4,))
    parts.keep(unit, _result(0))
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert parts.find(unit) is None
