"""An evaluation on disk: `evaluation.json` holds it all; `results.csv` is for people and spreadsheets. No pickle."""

from __future__ import annotations

import csv
import io
import json
import math
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rltemp.errors import InputError, first_line, short
from rltemp.experiments.evaluation.results import (
    FIDELITY,
    METRICS,
    Evaluation,
    FloatArray,
    PolicyResult,
    TeacherResult,
    TemperatureTrace,
)
from rltemp.files import atomic_write
from rltemp.reading import read_text

__all__ = ["describe_result", "load_evaluation", "restore_result", "save_evaluation"]

FORMAT = 3
WHOLE = "evaluation.json"
TABLE = "results.csv"
COLUMNS = ("policy", "seed", *METRICS)
FIRST_METRICS = tuple(metric for metric in METRICS if metric not in FIDELITY)
"""The quantities that formats 1 and 2 have."""
FIRST_COLUMNS = ("policy", "seed", *FIRST_METRICS)
TEACHER_FIELDS = ("accuracy", "nll", "calibration_error")
DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of values of another kind than those that were written."""
TRACE_FIELDS = ("progress", "quantiles", "difficulty", "temperature", "sample_progress")


def save_evaluation(evaluation: Evaluation, folder: str | os.PathLike[str]) -> None:
    """Write `evaluation.json`, and from it `results.csv` (one row per policy and seed), into an existing folder.

    Numbers are written in full: loading gives back the same bits.

    Raises:
        InputError: if the setting or the machine holds what JSON cannot, or the folder is missing.
    """
    whole = {
        "format": FORMAT,
        "recipe": evaluation.recipe,
        "setting": evaluation.setting,
        "seeds": evaluation.seeds,
        "machine": evaluation.machine,
        "teacher": _describe_teacher(evaluation.teacher),
        "policies": [describe_result(result) for result in evaluation.results],
    }
    try:
        text = json.dumps(whole, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"setting and machine must hold plain finite values only ({error})") from error
    atomic_write(Path(folder) / WHOLE, text + "\n")
    atomic_write(Path(folder) / TABLE, _table(evaluation))


def load_evaluation(folder: str | os.PathLike[str]) -> Evaluation:
    """Read what `save_evaluation` wrote.

    Formats 1 and 2, which knew nothing of the teacher, are read as well; format 1 kept the metrics in `results.csv`
    alone.

    Raises:
        InputError: for a missing, damaged or foreign file.
    """
    path = Path(folder) / WHOLE
    whole = _read_whole(path)
    try:
        seeds = tuple(operator.index(seed) for seed in whole["seeds"])
        policies = whole["policies"]
        if whole["format"] == 1:
            policies = _with_table_metrics(policies, seeds, _read_table(Path(folder) / TABLE))
        results = tuple(restore_result(policy) for policy in policies)
        recipe, setting, machine = whole["recipe"], whole["setting"], whole["machine"]
        if not (isinstance(recipe, str) and isinstance(setting, dict) and isinstance(machine, dict)):
            raise TypeError("recipe must be text, setting and machine objects")
        return Evaluation(recipe, setting, seeds, results, machine, _restore_teacher(whole.get("teacher")))
    except InputError as error:
        raise InputError(f"{folder} must hold an evaluation: {error}") from error
    except DAMAGE as error:
        raise InputError(f"{path} is damaged: {type(error).__name__} {first_line(error)}") from error


def describe_result(result: PolicyResult) -> dict[str, Any]:
    """A result as plain values."""
    described = {
        "name": result.name,
        "label": result.label,
        "family": result.family,
        "group": result.group,
        "metrics": {metric: _describe_metric(getattr(result, metric)) for metric in METRICS},
        "trace": None if result.trace is None else _describe_trace(result.trace),
    }
    # Without trouble the file is what earlier versions wrote.
    return {**described, "trouble": result.trouble} if result.trouble else described


def restore_result(policy: Mapping[str, Any]) -> PolicyResult:
    """The result of what `describe_result` gave.

    Raises:
        InputError: for values out of range; one of `DAMAGE` for another structure.
    """
    trace = policy["trace"]
    trouble = policy.get("trouble", "")
    words = [policy["name"], policy["label"], policy["family"], policy["group"] or "", trouble]
    if not all(isinstance(word, str) for word in words):
        raise TypeError("name, label, family, group and trouble must be text")
    metrics: dict[str, Any] = {metric: _restore_numbers(policy["metrics"][metric]) for metric in FIRST_METRICS}
    for metric in FIDELITY:
        values = policy["metrics"].get(metric)
        missing = [math.nan] * len(metrics["accuracy"])
        metrics[metric] = missing if values is None else _restore_numbers(values)
    return PolicyResult(
        name=policy["name"],
        label=policy["label"],
        family=policy["family"],
        group=policy["group"],
        trace=None if trace is None else _restore_trace(trace),
        trouble=trouble,
        **metrics,
    )


def _describe_trace(trace: TemperatureTrace) -> dict[str, Any]:
    described = {field: getattr(trace, field).tolist() for field in TRACE_FIELDS}
    # Without replaced labels the file is what earlier versions wrote.
    return described if trace.mislabelled is None else {**described, "mislabelled": trace.mislabelled.tolist()}


def _restore_trace(trace: Mapping[str, Any]) -> TemperatureTrace:
    return TemperatureTrace(**{field: trace[field] for field in TRACE_FIELDS}, mislabelled=trace.get("mislabelled"))


def _describe_metric(values: FloatArray) -> list[float | None] | None:
    """The numbers of a metric as plain values; null stands for a metric that was not measured."""
    return None if bool(np.isnan(values).any()) else [_finite(value) for value in values.tolist()]


def _finite(value: float) -> float | None:
    """Null stands for infinity, the cross-entropy of a student that diverged, which JSON has no number for."""
    return value if math.isfinite(value) else None


def _restore_numbers(values: Sequence[float | None]) -> list[float]:
    return [math.inf if value is None else value for value in values]


def _describe_teacher(teacher: TeacherResult | None) -> dict[str, float | None] | None:
    return None if teacher is None else {field: _finite(getattr(teacher, field)) for field in TEACHER_FIELDS}


def _restore_teacher(teacher: Mapping[str, float | None] | None) -> TeacherResult | None:
    return None if teacher is None else TeacherResult(*_restore_numbers([teacher[field] for field in TEACHER_FIELDS]))


def _table(evaluation: Evaluation) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in evaluation.results:
        for index, seed in enumerate(evaluation.seeds):
            values = (_cell(float(getattr(result, metric)[index])) for metric in METRICS)
            writer.writerow([result.name, seed, *values])
    return table.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _read_whole(path: Path) -> dict[str, Any]:
    try:
        whole = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be JSON ({error})") from error
    if not isinstance(whole, dict) or whole.get("format") not in (1, 2, FORMAT):
        got = short(whole.get("format")) if isinstance(whole, dict) else type(whole).__name__
        raise InputError(f"{path} must be an evaluation of format {FORMAT}, 2 or 1, got {got}")
    return whole


def _with_table_metrics(
    policies: Sequence[Mapping[str, Any]], seeds: Sequence[int], values: Mapping[tuple[str, int], tuple[float, ...]]
) -> list[dict[str, Any]]:
    """Policies of format 1 with the metrics that its table holds."""
    names = [policy["name"] for policy in policies]
    if sorted(values) != sorted((name, seed) for name in names for seed in seeds):
        raise InputError(f"{TABLE} must hold each policy of {WHOLE} once with each seed")
    columns = [zip(*(values[name, seed] for seed in seeds), strict=True) for name in names]
    return [
        {**policy, "metrics": dict(zip(FIRST_METRICS, metrics, strict=True))}
        for policy, metrics in zip(policies, columns, strict=True)
    ]


def _read_table(path: Path) -> dict[tuple[str, int], tuple[float, ...]]:
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise InputError(f"{path} must be a table of comma-separated values ({error})") from error
    if not rows or tuple(rows[0]) != FIRST_COLUMNS:
        raise InputError(
            f"{path} must have the columns {', '.join(FIRST_COLUMNS)}, got {short(rows[0]) if rows else 'none'}"
        )
    values: dict[tuple[str, int], tuple[float, ...]] = {}
    for line, row in enumerate(rows[1:], start=2):
        try:
            name, seed, *numbers = row
            key, entry = (name, int(seed)), tuple(float(number) for number in numbers)
        except ValueError as error:
            raise InputError(
                f"{path}, line {line}: must be a policy, a seed and {len(FIRST_METRICS)} numbers"
            ) from error
        if len(entry) != len(FIRST_METRICS) or key in values:
            raise InputError(
                f"{path}, line {line}: must be one row per policy and seed with {len(FIRST_METRICS)} numbers"
            )
        values[key] = entry
    return values
