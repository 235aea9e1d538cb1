"""An evaluation on disk: `results.csv` for people and spreadsheets, `evaluation.json` for the rest. No pickle."""

from __future__ import annotations

import csv
import io
import json
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rltemp.errors import InputError, first_line, short
from rltemp.experiments.evaluation.results import METRICS, Evaluation, PolicyResult, TemperatureTrace
from rltemp.files import atomic_write
from rltemp.reading import read_text

__all__ = ["describe_result", "load_evaluation", "restore_result", "save_evaluation"]

FORMAT = 1
TABLE = "results.csv"
REST = "evaluation.json"
COLUMNS = ("policy", "seed", *METRICS)
DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of values of another kind than those that were written."""
TRACE_FIELDS = ("progress", "quantiles", "difficulty", "temperature", "sample_progress")


def save_evaluation(evaluation: Evaluation, folder: str | os.PathLike[str]) -> None:
    """Write `results.csv` (one row per policy and seed) and `evaluation.json` into an existing folder.

    Numbers are written in full: loading gives back the same bits.

    Raises:
        InputError: if the setting or the machine holds what JSON cannot, or the folder is missing.
    """
    rest = {
        "format": FORMAT,
        "recipe": evaluation.recipe,
        "setting": evaluation.setting,
        "seeds": evaluation.seeds,
        "machine": evaluation.machine,
        "policies": [describe_result(result) for result in evaluation.results],
    }
    try:
        text = json.dumps(rest, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"setting and machine must hold plain finite values only ({error})") from error
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in evaluation.results:
        for index, seed in enumerate(evaluation.seeds):
            values = (repr(float(getattr(result, metric)[index])) for metric in METRICS)
            writer.writerow([result.name, seed, *values])
    atomic_write(Path(folder) / TABLE, table.getvalue())
    atomic_write(Path(folder) / REST, text + "\n")


def load_evaluation(folder: str | os.PathLike[str]) -> Evaluation:
    """Read what `save_evaluation` wrote.

    Raises:
        InputError: for a missing, damaged or foreign file, or if the two files do not belong together.
    """
    rest = _read_rest(Path(folder) / REST)
    values = _read_table(Path(folder) / TABLE)
    try:
        seeds = tuple(operator.index(seed) for seed in rest["seeds"])
        names = [policy["name"] for policy in rest["policies"]]
        if sorted(values) != sorted((name, seed) for name in names for seed in seeds):
            raise InputError(f"{TABLE} must hold each policy of {REST} once with each seed")
        results = tuple(
            restore_result(policy, [values[policy["name"], seed] for seed in seeds]) for policy in rest["policies"]
        )
        recipe, setting, machine = rest["recipe"], rest["setting"], rest["machine"]
        if not (isinstance(recipe, str) and isinstance(setting, dict) and isinstance(machine, dict)):
            raise TypeError("recipe must be text, setting and machine objects")
        return Evaluation(recipe, setting, seeds, results, machine)
    except InputError as error:
        raise InputError(f"{folder} must hold an evaluation: {error}") from error
    except DAMAGE as error:
        raise InputError(f"{Path(folder) / REST} is damaged: {type(error).__name__} {first_line(error)}") from error


def describe_result(result: PolicyResult) -> dict[str, Any]:
    """All of a result but its metrics, as plain values."""
    trace = result.trace
    return {
        "name": result.name,
        "label": result.label,
        "family": result.family,
        "group": result.group,
        "trace": None if trace is None else {field: getattr(trace, field).tolist() for field in TRACE_FIELDS},
    }


def restore_result(policy: Mapping[str, Any], rows: Sequence[tuple[float, ...]]) -> PolicyResult:
    """The result of what `describe_result` gave, and the metrics of each student.

    Raises:
        InputError: for values out of range; one of `DAMAGE` for another structure.
    """
    trace = policy["trace"]
    words = [policy["name"], policy["label"], policy["family"], policy["group"] or ""]
    if not all(isinstance(word, str) for word in words):
        raise TypeError("name, label, family and group must be text")
    columns: dict[str, Any] = dict(zip(METRICS, zip(*rows, strict=True), strict=True))
    return PolicyResult(
        name=policy["name"],
        label=policy["label"],
        family=policy["family"],
        group=policy["group"],
        trace=None if trace is None else TemperatureTrace(**{field: trace[field] for field in TRACE_FIELDS}),
        **columns,
    )


def _read_rest(path: Path) -> dict[str, Any]:
    try:
        rest = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be JSON ({error})") from error
    if not isinstance(rest, dict) or rest.get("format") != FORMAT:
        got = short(rest.get("format")) if isinstance(rest, dict) else type(rest).__name__
        raise InputError(f"{path} must be an evaluation of format {FORMAT}, got {got}")
    return rest


def _read_table(path: Path) -> dict[tuple[str, int], tuple[float, ...]]:
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise InputError(f"{path} must be a table of comma-separated values ({error})") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise InputError(f"{path} must have the columns {', '.join(COLUMNS)}, got {short(rows[0]) if rows else 'none'}")
    values: dict[tuple[str, int], tuple[float, ...]] = {}
    for line, row in enumerate(rows[1:], start=2):
        try:
            name, seed, *numbers = row
            key, entry = (name, int(seed)), tuple(float(number) for number in numbers)
        except ValueError as error:
            raise InputError(f"{path}, line {line}: must be a policy, a seed and {len(METRICS)} numbers") from error
        if len(entry) != len(METRICS) or key in values:
            raise InputError(f"{path}, line {line}: must be one row per policy and seed with {len(METRICS)} numbers")
        values[key] = entry
    return values
