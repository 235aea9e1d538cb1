"""Measurements as a file, and what differs between two of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from rltemp.errors import InputError
from rltemp.experiments.bench.section import Section, three_digits
from rltemp.experiments.bench.timing import Quartiles
from rltemp.files import atomic_write
from rltemp.reading import read_text

__all__ = ["Record", "compare", "read_record", "write_record"]

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Record:
    """The ratios of one file.

    Attributes:
        machine: on which they were measured, in a line.
        ratios: by section and row.
    """

    machine: str
    ratios: Mapping[tuple[str, str], Quartiles]


def write_record(path: Path, machine: Mapping[str, Any], sections: Mapping[str, Section]) -> None:
    """Write all that was measured as JSON: bars and whether they are met, times, quartiles, phases, and memory.

    Args:
        path: of the file, replaced in one step.
        machine: what it was measured on.
        sections: by name.
    """
    measured = {name: _describe(section) for name, section in sections.items()}
    content = {"format": _FORMAT, "machine": dict(machine), "sections": measured}
    atomic_write(path, json.dumps(content, indent=1) + "\n")


def read_record(path: str) -> Record:
    """Read a file that `write_record` wrote.

    Raises:
        InputError: for a file that is missing or holds anything else.
    """
    try:
        content = json.loads(read_text(Path(path)))
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}")
        ratios = {
            (str(name), str(row["name"])): Quartiles(*(float(row["ratio"][part]) for part in ("median", "low", "high")))
            for name, section in content["sections"].items()
            for row in section["rows"]
        }
        return Record(str(content["machine"]["line"]), ratios)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"--compare must name files of rltemp bench --json, got {path} ({error})") from error


def compare(before: Record, after: Record) -> Table:
    """The ratios that both have, side by side; those whose quartiles lie apart are marked.

    Times are left out: they are of two runs, on machines of their own or under other load.
    """
    table = Table("section", "", caption=f"before: {before.machine}\nafter: {after.machine}", caption_justify="left")
    for heading in ("before", "after", "after / before", "quartiles"):
        table.add_column(heading, justify="right")
    for section, name, one, other in _shared(before, after):
        apart = one.high < other.low or other.high < one.low
        cells = three_digits(one.median), three_digits(other.median), three_digits(other.median / one.median)
        table.add_row(section, name, *cells, "apart" if apart else "overlap")
    return table


def _shared(before: Record, after: Record) -> Iterator[tuple[str, str, Quartiles, Quartiles]]:
    for (section, name), one in before.ratios.items():
        if (section, name) in after.ratios:
            yield section, name, one, after.ratios[section, name]


def _describe(section: Section) -> dict[str, Any]:
    described = dataclasses.asdict(section)
    for kind in ("rows", "peaks"):
        for line, measured in zip(described[kind], getattr(section, kind), strict=True):
            ratio = measured.ratio.median if kind == "rows" else measured.ratio
            line["bar"] = None if measured.bar is None else {"limit": str(measured.bar), "met": measured.bar.met(ratio)}
    return described
