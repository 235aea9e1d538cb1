"""The result of a measurement, and its table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.table import Table

from rltemp.experiments.bench.timing import Quartiles

__all__ = ["AtLeast", "AtMost", "Peak", "Phase", "Row", "Section", "tables", "three_digits"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AtMost:
    """A bar that a ratio must not exceed."""

    limit: float

    def met(self, ratio: float) -> bool:
        """Whether `ratio` keeps to it."""
        return ratio <= self.limit

    def __str__(self) -> str:
        return f"≤ {self.limit:g}"


@dataclass(frozen=True)
class AtLeast:
    """A bar that a ratio must reach."""

    limit: float

    def met(self, ratio: float) -> bool:
        """Whether `ratio` reaches it."""
        return ratio >= self.limit

    def __str__(self) -> str:
        return f"≥ {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """One ratio.

    Attributes:
        name: what is measured.
        milliseconds: its time, the median.
        ratio: as the section says, over rounds.
        bar: what the median ratio is held to, if anything.
    """

    name: str
    milliseconds: float
    ratio: Quartiles
    bar: AtMost | AtLeast | None = None

    @classmethod
    def of(cls, name: str, seconds: Floats, ratios: Floats, bar: AtMost | AtLeast | None = None) -> Row:
        """A row from times and ratios per round."""
        return cls(name, 1e3 * float(np.median(seconds)), Quartiles.of(ratios), bar)


@dataclass(frozen=True)
class Phase:
    """A part of a step: milliseconds per step, and its share in [0, 1] of the whole."""

    name: str
    milliseconds: float
    share: float


@dataclass(frozen=True)
class Peak:
    """The most memory a call takes at once.

    Attributes:
        name: what is measured.
        size: in bytes.
        ratio: as the section says.
        bar: what the ratio is held to, if anything.
    """

    name: str
    size: int
    ratio: float
    bar: AtMost | None = None


@dataclass(frozen=True)
class Section:
    """One measurement.

    Attributes:
        title: what is compared, and at which size.
        ratio: what the ratios are, in a few words.
        rows: the ratios.
        phases: what the step is made of, if that was looked at.
        peaks: memory, if that was looked at.
        rate: what each row's work is on and how many of them it has, such as ("characters", 128), to show how many of
            them are done in a second; None where that is not shown.
    """

    title: str
    ratio: str
    rows: tuple[Row, ...]
    phases: tuple[Phase, ...] = ()
    peaks: tuple[Peak, ...] = ()
    rate: tuple[str, int] | None = None


def tables(section: Section) -> list[Table]:
    """The section's ratios and, if it has any, its phases and its memory."""
    result = [_ratios(section)]
    if section.phases:
        result.append(_phases(section.phases))
    if section.peaks:
        result.append(_peaks(section))
    return result


def _ratios(section: Section) -> Table:
    table = Table(title=section.title, title_justify="left", title_style="bold")
    table.add_column("")
    rates = () if section.rate is None else (f"{section.rate[0]} per s",)
    for heading in ("ms", *rates, section.ratio, "quartiles", "bar", ""):
        table.add_column(heading, justify="right")
    for row in section.rows:
        done = () if section.rate is None else (f"{1e3 * section.rate[1] / row.milliseconds:,.0f}",)
        table.add_row(
            row.name,
            three_digits(row.milliseconds),
            *done,
            three_digits(row.ratio.median),
            f"{three_digits(row.ratio.low)} to {three_digits(row.ratio.high)}",
            *_judged(row.bar, row.ratio.median),
        )
    return table


def _peaks(section: Section) -> Table:
    table = Table("peak memory")
    for heading in ("MiB", section.ratio, "bar", ""):
        table.add_column(heading, justify="right")
    for peak in section.peaks:
        table.add_row(
            peak.name, three_digits(peak.size / 2**20), three_digits(peak.ratio), *_judged(peak.bar, peak.ratio)
        )
    return table


def _judged(bar: AtMost | AtLeast | None, ratio: float) -> tuple[str, str]:
    """A bar, and whether the ratio is within it; two empty texts without a bar."""
    if bar is None:
        return "", ""
    return str(bar), "met" if bar.met(ratio) else "missed"


def _phases(phases: tuple[Phase, ...]) -> Table:
    table = Table("phase")
    for heading in ("ms per step", "share"):
        table.add_column(heading, justify="right")
    for phase in sorted(phases, key=lambda phase: -phase.share):
        table.add_row(phase.name, three_digits(phase.milliseconds), f"{100 * phase.share:.1f} %")
    table.add_section()
    table.add_row("all", three_digits(sum(phase.milliseconds for phase in phases)), "100 %")
    return table


def three_digits(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
